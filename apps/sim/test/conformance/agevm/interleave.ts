import { formatTraceRecord, parseTraceText, type TraceKernel, type TraceRecord } from "@kvm-age/trace";
import { Random } from "../../../src/actors/programs/torture/random.js";

/** Probes of a notifier's call that lie before its lock, if it takes one, and behind it. */
const OUTSIDE_LOCKS: ReadonlySet<string> = new Set([
  "clear_young",
  "clear_young_ret",
  "kvm_age_hva",
  "kvm_unmap_hva_range",
]);
/** Probes inside a call that takes no lock. */
const OF_LOCKLESS_AGING: ReadonlySet<string> = new Set(["age_gfn", "tdp_age_ret", "age_gfn_ret"]);

/** So often every pair of neighbours may change places: a line moves past half as many on average. */
const ROUNDS = 40;

/**
 * The same history as another recording could show it: lines of different tasks change places where one is not bound to a moment, as on
 * processors that run at once. Lines of one task keep their order.
 */
export function interleavedTrace(text: string, kernel: TraceKernel, seed: number): string {
  const random = new Random(seed);
  const { records } = parseTraceText(text, { strict: true });
  for (let round = 0; round < ROUNDS; round++) swapNeighbours(records, kernel !== "linux-6.12", random);
  return records.map((record) => formatTraceRecord(record, { kernel, form: "trace" })).join("\n");
}

function swapNeighbours(records: TraceRecord[], lockless: boolean, random: Random): void {
  for (let index = 1; index < records.length; index++) {
    const [before, after] = [records[index - 1]!, records[index]!];
    const independent = isFree(before, lockless) || isFree(after, lockless);
    if (before.pid === after.pid || !independent || random.below(2) === 0) continue;
    records[index - 1] = { ...after, timestampNs: before.timestampNs };
    records[index] = { ...before, timestampNs: after.timestampNs };
  }
}

function isFree(record: TraceRecord, lockless: boolean): boolean {
  if (record.kind === "note" || record.kind === "other") return false;
  return OUTSIDE_LOCKS.has(record.name) || (lockless && OF_LOCKLESS_AGING.has(record.name));
}
