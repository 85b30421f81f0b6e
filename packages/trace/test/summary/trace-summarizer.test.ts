import { describe, expect, it } from "vitest";
import {
  identifyTrace,
  parseTraceText,
  type TraceIdentityOverrides,
  TraceSummarizer,
  type TraceSummary,
} from "../../src/index.js";
import { rangeSize } from "../../src/summary/range-size.js";
import { traceFixture } from "../support/trace-fixture.js";
import { changed, fastFixed, line, pageFault, recordsOf, unmapHva } from "../support/trace-lines.js";

const EMPTY = "8000000000000000";

function summaryOf(overrides: TraceIdentityOverrides, ...lines: readonly string[]): TraceSummary {
  const records = recordsOf(...lines);
  const summarizer = new TraceSummarizer(identifyTrace(records, overrides));
  for (const record of records) summarizer.observe(record);
  return summarizer.finish();
}

const requested = line("kvm_mmu_spte_requested: gfn 5 pfn 12345 level 1 access f");
const set = line("kvm_mmu_set_spte: gfn 5 spte 12345e67 (rwxu) level 1 at 109dcc028");

describe("guest faults", () => {
  const outcome = (mode: TraceIdentityOverrides["mode"], ...lines: readonly string[]): unknown => {
    const overrides: TraceIdentityOverrides =
      mode === "ept" ? { mode, adBits: false } : { mode: mode ?? "npt" };
    return summaryOf(overrides, ...lines).faults.rows;
  };

  it("are known by how they end", () => {
    expect(outcome("npt", pageFault(0x5000, "0x100000006"), requested, set)).toEqual([
      { outcome: "mapped4K", read: 0, write: 1, fetch: 0 },
    ]);
    expect(outcome("npt", pageFault(0x5000, "0x100000014"), requested)).toEqual([
      { outcome: "notMapped", read: 0, write: 0, fetch: 1 },
    ]);
    const tracked = fastFixed(0x5000, "d0f0000012345a70", "90a0000012345f75");
    expect(outcome("ept", pageFault(0x5000, "0x181"), tracked)).toEqual([
      { outcome: "restored", read: 1, write: 0, fetch: 0 },
    ]);
    const protectedPage = fastFixed(0x5000, "12345e65", "12345e67");
    expect(outcome("npt", pageFault(0x5000, "0x100000007"), protectedPage)).toEqual([
      { outcome: "writeEnabled", read: 0, write: 1, fetch: 0 },
    ]);
    const mmio = line("mark_mmio_spte: sptep:0000000012345678 gfn fee00 access 6 gen 1c");
    expect(outcome("npt", pageFault(0xfee00000, "0x100000006"), requested, mmio)).toEqual([
      { outcome: "mmio", read: 0, write: 1, fetch: 0 },
    ]);
    const refused = line("kvm_mmu_walker_error: pferr 7 P|W|U");
    expect(outcome("shadow", pageFault(0x5000, "0x7"), refused)).toEqual([
      { outcome: "guestFault", read: 0, write: 1, fetch: 0 },
    ]);
    expect(outcome("npt", pageFault(0x5000, "0x100000004"))).toEqual([
      { outcome: "unknown", read: 1, write: 0, fetch: 0 },
    ]);
  });

  it("of two tasks are kept apart", () => {
    const other = pageFault(0x6000, "0x100000004", { pid: 8 });
    expect(outcome("npt", pageFault(0x5000, "0x100000006"), other, requested, set)).toEqual([
      { outcome: "mapped4K", read: 0, write: 1, fetch: 0 },
      { outcome: "unknown", read: 1, write: 0, fetch: 0 },
    ]);
  });

  it("say whether the CPU was walking the guest's tables", () => {
    const npt = summaryOf(
      { mode: "npt" },
      pageFault(0x5000, "0x200000006"),
      pageFault(0x5000, "0x100000006"),
    );
    expect(npt.faults.inGuestWalk).toBe(1);
    const ept = summaryOf({ mode: "ept" }, pageFault(0x5000, "0x81"), pageFault(0x5000, "0x181"));
    expect(ept.faults.inGuestWalk).toBe(1);
  });
});

describe("zaps", () => {
  const zap = changed(5, 1, "12345e67", EMPTY);
  const page = line("kvm_mmu_prepare_zap_page: sp gen 0 gfn 0 l1 8-byte q0 direct rwux nxe ad root 0 sync");
  it.each([
    ["invalidation", [unmapHva(0x7f0000000000, 1)]],
    ["zapAll", [line("kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 1f4"), page]],
    ["teardown", [unmapHva(0x7f0000000000, 1), page]],
    ["fault", [pageFault(0x5000, "0x100000006"), page]],
    ["unknown", [unmapHva(0x7f0000000000, 1, { pid: 8 })]],
  ] as const)("are due to: %s", (cause, before) => {
    expect(summaryOf({ mode: "npt" }, ...before, zap).spteChanges.zaps).toEqual([
      { cause, byLevel: [1, 0, 0] },
    ]);
  });
});

it.each([
  [0x1000, 0x1001, "one address"],
  [0x1000, 0x2000, "4 KiB"],
  [0x1000, 0x3000, "8 KiB to 2 MiB"],
  [0x200000, 0x400000, "2 MiB"],
  [0x200000, 0x600000, "2 MiB to 1 GiB"],
  [0, 2 ** 30, "1 GiB"],
  [0, 2 ** 31, "more"],
  [0x1234, 0x2234, "not whole pages"],
] as const)("the range from %i to %i is called: %s", (start, end, size) => {
  expect(rangeSize(start, end)).toBe(size);
});

describe("a real trace", () => {
  // Independently: zcat | grep -c for counts; the rest read off by eye.
  const { records } = parseTraceText(traceFixture("linux-7.3-npt-tdpmmu/age_thp.trace.gz"));
  const summarizer = new TraceSummarizer(identifyTrace(records));
  for (const record of records) summarizer.observe(record);
  const summary = summarizer.finish();

  it("has the aging calls that it shows", () => {
    expect(summary.aging.rows).toEqual([
      { kind: "age", comm: "agevm", size: "2 MiB", calls: 9, young: 4, old: 5, unknown: 0, agedSptes: 4 },
    ]);
    expect(summary.aging.agedByLevel).toEqual({ 1: 0, 2: 4, 3: 0 });
    expect(summary.aging.ageDuration.count).toBe(9);
  });

  it("maps two huge pages and tears them down", () => {
    expect(summary.faults.rows.find(({ outcome }) => outcome === "mapped2M")).toMatchObject({ write: 2 });
    expect(summary.spteChanges.zaps).toEqual([{ cause: "teardown", byLevel: [8, 2, 0] }]);
    expect(summary.mappedAtEnd).toEqual([0, 0, 0]);
  });

  it("knows where guest memory stands", () => {
    expect(summary.memory.map(({ gfn, pages }) => [gfn, pages])).toEqual([[0x40000, 1024]]);
  });
});
