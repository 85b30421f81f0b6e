import {
  formatTraceRecord,
  type KvmEvent,
  type RecordOrigin,
  readTrace,
  type TraceRecord,
} from "@kvm-age/trace";
import { type BenchRow, perSecond } from "./bench-row.js";

const CHUNK_BYTES = 1 << 17;
const BLOCK_PAGES = 4096;
const STREAM_BYTES = 256 * 2 ** 20;
const MIB = 2 ** 20;

/** Who writes the records of a page, and when: vCPU 3 maps it, kswapd0 ages it 20 ms later. */
function origins(page: number): { readonly vcpu: RecordOrigin; readonly ager: RecordOrigin } {
  const timestampNs = 2_412_000_000_000 + page * 10_000;
  const place = { line: 0, flags: "...1." };
  return {
    vcpu: { ...place, comm: "CPU 3/KVM", pid: 9164, cpu: 5, timestampNs },
    ager: { ...place, comm: "kswapd0", pid: 112, cpu: 12, timestampNs: timestampNs + 20_000_000 },
  };
}

/** The records of one page's fault. */
function faultRecords(origin: RecordOrigin, page: number, spte: bigint): KvmEvent[] {
  const gfn = 0x1a2000 + page;
  const at = { ...origin, kind: "kvm" } as const;
  const address = BigInt(gfn) * 4096n;
  const fault = { vcpu: 3, rip: 0x40213bn, address, error_code: 0x182n };
  const change = { as_id: 0, gfn, level: 1, old_spte: 0x8000_0000_0000_0000n, new_spte: spte };
  const set = { gfn, spte, level: 1, sptep: 0x13a5d1000 + 8 * page, r: true, x: true, u: true };
  return [
    { ...at, name: "kvm_page_fault", fields: fault },
    { ...at, name: "kvm_mmu_spte_requested", fields: { gfn, pfn: 0x4f1000 + page, level: 1, access: 15 } },
    { ...at, name: "kvm_tdp_mmu_spte_changed", fields: change },
    { ...at, name: "kvm_mmu_set_spte", fields: set },
  ];
}

/** The records of one page's aging, with the probes by which its answer is known. */
function agingRecords(origin: RecordOrigin, page: number, spte: bigint): TraceRecord[] {
  const gfn = 0x1a2000 + page;
  const start = 0x7f3a5c000000 + page * 4096;
  const change = { as_id: 0, gfn, level: 1, old_spte: spte, new_spte: spte - 0x100n };
  const place = "kvm_mmu_notifier_clear_young+0x1bf/0x280 <- kvm_age_gfn";
  const range = { start: BigInt(gfn), end: BigInt(gfn + 1) };
  return [
    { ...origin, kind: "kvm", name: "kvm_age_hva", fields: { start, end: start + 4096 } },
    { ...origin, kind: "probe", name: "age_gfn", place: "kvm_age_gfn+0x4/0x60", args: range },
    { ...origin, kind: "kvm", name: "kvm_tdp_mmu_spte_changed", fields: change },
    { ...origin, kind: "probe", name: "age_gfn_ret", place, args: { ret: 1n }, decimalArgs: ["ret"] },
  ];
}

/** Some megabytes of a trace: pages are mapped, and aged. */
function traceBlock(): Buffer {
  const layout = { kernel: "linux-7.3", form: "trace" } as const;
  const lines = Array.from({ length: BLOCK_PAGES }, (_, page) => {
    const { vcpu, ager } = origins(page);
    const spte = 0x8600_0004_f100_0b77n + BigInt(page) * 4096n;
    return [...faultRecords(vcpu, page, spte), ...agingRecords(ager, page, spte)];
  });
  return Buffer.from(
    lines
      .flat()
      .map((record) => `${formatTraceRecord(record, layout)}\n`)
      .join(""),
  );
}

/** `block` again and again, in chunks, until there are `bytes`. */
async function* stream(block: Buffer, bytes: number): AsyncGenerator<Uint8Array> {
  for (let sent = 0; sent < bytes; sent += block.length) {
    for (let from = 0; from < block.length; from += CHUNK_BYTES)
      yield block.subarray(from, from + CHUNK_BYTES);
  }
}

/** What reading a stream took. */
interface Reading {
  readonly lines: number;
  readonly ns: number;
  /** The most that the process had resident. */
  readonly peakRss: number;
}

async function read(block: Buffer, bytes: number): Promise<Reading> {
  const reader = readTrace(stream(block, bytes), { strict: true });
  const start = process.hrtime.bigint();
  let peakRss = 0;
  for await (const records of reader) {
    if (records.length > 0) peakRss = Math.max(peakRss, process.memoryUsage.rss());
  }
  return { lines: reader.report.lines, ns: Number(process.hrtime.bigint() - start), peakRss };
}

/** Only finds the lines of the same bytes, and makes a string of each. */
async function split(block: Buffer, bytes: number): Promise<Omit<Reading, "peakRss">> {
  const start = process.hrtime.bigint();
  let lines = 0;
  let characters = 0;
  for await (const chunk of stream(block, bytes)) {
    const view = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (let end = view.indexOf(0x0a); end >= 0; end = view.indexOf(0x0a, from)) {
      characters += view.toString("latin1", from, end).length;
      lines++;
      from = end + 1;
    }
  }
  if (characters < lines) throw new Error(`${lines} lines have ${characters} characters`);
  return { lines, ns: Number(process.hrtime.bigint() - start) };
}

/** How fast a trace is read and decoded, and what memory a long one takes. */
export async function benchTraceReading(): Promise<BenchRow[]> {
  const block = traceBlock();
  await read(block, STREAM_BYTES / 8);
  const before = process.memoryUsage.rss();
  const { lines, ns, peakRss } = await read(block, STREAM_BYTES);
  await split(block, STREAM_BYTES / 8);
  const baseline = await split(block, STREAM_BYTES);
  const growth = Math.max(peakRss - before, 0);
  return [
    {
      name: "trace: lines read and decoded",
      figure: perSecond(lines, ns),
      baseline: `split into strings ${perSecond(baseline.lines, baseline.ns)}`,
      ratio: `${(lines / ns / (baseline.lines / baseline.ns)).toFixed(2)}×`,
      aim: "≥ 1 M/s",
    },
    {
      name: `trace: memory grown by reading ${STREAM_BYTES / MIB} MiB`,
      figure: `${(growth / MIB).toFixed(1)} MiB`,
      baseline: `resident before ${(before / MIB).toFixed(0)} MiB`,
      ratio: `${(growth / before).toFixed(2)}×`,
      aim: "flat",
    },
  ];
}
