import { formatTraceRecord, openTrace, readTrace } from "../src/index.js";

const reader = readTrace(openTrace(process.env.TRACE ?? "-")); // a file, plain or gzip; "-" is the standard input
export const aged: string[] = [];
for await (const records of reader) {
  for (const record of records) {
    if (record.kind !== "kvm" || record.name !== "kvm_tdp_mmu_spte_changed") continue;
    const { gfn, level, old_spte, new_spte } = record.fields; // numbers, and bigints for SPTEs
    if (old_spte - new_spte !== 0x20n) continue; // NPT: only Accessed went
    aged.push(`line ${record.line}: gfn ${gfn.toString(16)}, level ${level}, by ${record.comm}`);
    console.log(formatTraceRecord(record, { kernel: "linux-7.3", form: "trace" }));
  }
}
export const { lines, damaged, lost } = reader.report;
