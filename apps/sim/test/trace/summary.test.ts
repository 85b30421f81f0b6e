import { describe, expect, test } from "vitest";
import { type TraceSummaryResult, traceSummaryResultSchema } from "../../src/results/trace-summary-result.js";
import {
  countMatches,
  KERNEL_TRACES,
  type KernelTraceFile,
  kernelTrace,
  textOf,
} from "./kit/kernel-traces.js";
import { runHere } from "./kit/run-here.js";

async function summarize({ path }: KernelTraceFile): Promise<TraceSummaryResult> {
  const { code, out, err } = await runHere("trace", "summary", path, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return traceSummaryResultSchema.parse(JSON.parse(out));
}

const summaries = new Map<string, Promise<TraceSummaryResult>>();

/** The summary of a trace, made once. */
function summaryOf(trace: KernelTraceFile): Promise<TraceSummaryResult> {
  const summary = summaries.get(trace.name) ?? summarize(trace);
  summaries.set(trace.name, summary);
  return summary;
}

function count(summary: TraceSummaryResult, event: string): number {
  return summary.read.events.find(({ name }) => name === event)?.count ?? 0;
}

/** The one trace of 6.12 in which nothing is young, so that nothing shows the lock that aging holds. */
const UNDECIDED = "linux-6.12-npt-tdpmmu/thp_split_dontneed";

/** What the folder's name says of kernel and MMU. */
function namedIdentity(folder: string): Partial<TraceSummaryResult["identity"]> {
  const kernel = folder.startsWith("linux-6.12") ? "linux-6.12" : "linux-7.3";
  const mode = folder.includes("-ept-") ? "ept" : folder.includes("-npt-") ? "npt" : "shadow";
  return {
    kernel,
    mode,
    adBits: !folder.includes("noad"),
    tdpMmu: mode !== "shadow" && !folder.includes("shadowmmu"),
  };
}

/** Whether a change keeps the pfn and takes only A (bit 5 with NPT, bit 8 with EPT), or R, W, X and XU too (EPT without A/D). */
function agesSpte(folder: string, before: bigint, after: bigint): boolean {
  const lost = before & ~after;
  if (((before ^ after) & 0x000ffffffffff000n) !== 0n) return false;
  if (folder.includes("noad"))
    return (before & 0x800n) !== 0n && (after & 0xc07n) === 0x800n && (lost & 0x1n) !== 0n;
  const accessed = folder.includes("-ept-") ? 0x100n : 0x20n;
  return lost === accessed && (after & ~before) === 0n;
}

const CHANGE =
  /kvm_tdp_mmu_spte_changed: as id \d gfn [0-9a-f]+ level (\d) old_spte ([0-9a-f]+) new_spte ([0-9a-f]+)$/gm;

describe.each(KERNEL_TRACES)("summary of $name", (trace) => {
  const text = textOf(trace);

  test("says which kernel and MMU wrote it, and on what grounds", async () => {
    const { identity } = await summaryOf(trace);
    expect(identity).toMatchObject(namedIdentity(trace.folder));
    expect(identity.evidence.length).toBeGreaterThanOrEqual(4);
    const assumed = identity.evidence.filter((sentence) => sentence.includes("assumed"));
    expect(assumed.length).toBe(trace.name === UNDECIDED ? 1 : 0);
  });

  test("counts every event, line and answer that is there", async () => {
    const summary = await summaryOf(trace);
    expect(summary.read).toMatchObject({ complete: true, damagedLines: 0, lines: countMatches(text, /\n/) });
    for (const { name, count: counted } of summary.read.events) {
      expect([name, counted]).toEqual([name, countMatches(text, new RegExp(`\\d: ${name}: `))]);
    }
    const calls = summary.aging.rows.reduce((sum, row) => sum + row.calls, 0);
    expect(calls).toBe(countMatches(text, /kvm_age_hva: /));
    const returned = [...text.matchAll(/clear_young_ret: .* ret=(\d+)$/gm)].map(
      ([, ret]) => BigInt(ret!) & 0xffn,
    );
    const answered = summary.aging.rows.reduce((sum, row) => sum + row.young, 0);
    if (returned.length === calls) expect(answered).toBe(returned.filter((ret) => ret !== 0n).length);
    expect(summary.aging.answeredBy.returnProbe).toBe(returned.length);
  });

  test("counts the SPTEs that aging changed, and the pages that were zapped", async () => {
    const summary = await summaryOf(trace);
    const changes = [...text.matchAll(CHANGE)].map(([, level, before, after]) => ({
      level: Number(level),
      before: BigInt(`0x${before}`),
      after: BigInt(`0x${after}`),
    }));
    const aged = changes.filter(({ before, after }) => agesSpte(trace.folder, before, after));
    const agedBySummary = summary.aging.rows.reduce((sum, row) => sum + row.agedSptes, 0);
    expect(agedBySummary).toBe(aged.length);
    const leaves = changes.filter(
      ({ level, before, after }) =>
        (before & 0x800n) !== 0n && (after & 0x800n) === 0n && (level === 1 || (before & 0x80n) !== 0n),
    );
    const zapped = summary.spteChanges.zaps
      .flatMap(({ byLevel }) => byLevel)
      .reduce((sum, zaps) => sum + zaps, 0);
    expect(zapped).toBe(leaves.length);
  });

  test("gives every guest fault one outcome", async () => {
    const { faults } = await summaryOf(trace);
    expect(faults.faults).toBe(countMatches(text, /: kvm_page_fault: /));
    const outcomes = faults.rows.reduce((sum, { read, write, fetch }) => sum + read + write + fetch, 0);
    expect(outcomes).toBe(faults.faults);
    const restored = faults.rows.find(({ outcome }) => outcome === "restored");
    const tracked = countMatches(text, /fast_page_fault: .* old 0xd[0-9a-f]+[0-9a-f]{2}0 new .* fixed 1$/m);
    expect((restored?.read ?? 0) + (restored?.write ?? 0) + (restored?.fetch ?? 0)).toBe(tracked);
  });
});

describe("what was read off traces by hand", () => {
  test("linux-7.3-npt-tdpmmu/age4k: 64 pages marked idle, 40 used, all marked again", async () => {
    const summary = await summaryOf(kernelTrace("linux-7.3-npt-tdpmmu/age4k"));
    expect(summary.aging.rows).toEqual([
      {
        kind: "age",
        comm: "agevm",
        size: "4 KiB",
        calls: 400,
        young: 104,
        old: 296,
        unknown: 0,
        agedSptes: 104,
      },
    ]);
    expect(summary.aging.agedByLevel).toEqual({ "1": 104, "2": 0, "3": 0 });
    expect(summary.useAfterAging.latest.count).toBe(40);
    expect(summary.useAfterAging.exact.count).toBe(0);
    expect(summary.faults.rows.map(({ outcome }) => outcome)).toEqual(["mapped4K"]);
    expect(count(summary, "kvm_tdp_mmu_spte_changed")).toBe(258);
    expect(summary.memory).toEqual([{ gfn: "0x40000", hva: expect.stringMatching(/^0x7f/), pages: 64 }]);
  });

  test("linux-7.3-ept-noad-acctrack/age4k: the 40 uses fault, which tells when they came", async () => {
    const { useAfterAging } = await summaryOf(kernelTrace("linux-7.3-ept-noad-acctrack/age4k"));
    expect(useAfterAging).toMatchObject({ exact: { count: 40 }, latest: { count: 0 }, goneUnused: 64 });
  });

  test("linux-7.3-npt-tdpmmu/dirty_thp: two huge pages split, 1008 small ones left to tear down", async () => {
    const summary = await summaryOf(kernelTrace("linux-7.3-npt-tdpmmu/dirty_thp"));
    expect(summary.tablePages.splits).toEqual({ done: 2, lostRace: 0, noMemory: 0, otherError: 0 });
    expect(summary.spteChanges.changes.find(({ kind }) => kind === "split")?.byLevel).toEqual([
      0, 2, 0, 0, 0,
    ]);
  });

  test("linux-7.3-npt-tdpmmu/memslot4k: the pages of a deleted slot are zapped because of it", async () => {
    const { spteChanges, tablePages } = await summaryOf(kernelTrace("linux-7.3-npt-tdpmmu/memslot4k"));
    expect(tablePages.zapAllFast).toBe(1);
    expect(spteChanges.zaps.map(({ cause }) => cause)).toEqual(["zapAll", "teardown"]);
  });

  test("linux-7.3-npt-tdpmmu/pageout4k: 64 pages of 4 KiB invalidated by name and zapped for it", async () => {
    const { spteChanges, invalidations } = await summaryOf(kernelTrace("linux-7.3-npt-tdpmmu/pageout4k"));
    expect(spteChanges.zaps.find(({ cause }) => cause === "invalidation")?.byLevel).toEqual([64, 0, 0]);
    expect(invalidations.find(({ size }) => size === "4 KiB")).toMatchObject({ comm: "agevm", calls: 65 });
  });
});

test("the text has every section, aligned, and no code for colours", async () => {
  const { code, out } = await runHere("trace", "summary", kernelTrace("linux-7.3-npt-tdpmmu/age4k").path);
  expect(code).toBe(0);
  expect(out).toMatch(/^linux-7\.3, NPT, TDP MMU\n {2}kernel 7\.3: /);
  for (const title of ["Events", "Tasks", "vCPUs", "Aging calls", "Times", "Guest faults"]) {
    expect(out).toContain(`\n\n${title}\n`);
  }
  expect(out).toMatch(/^age {3}agevm {2}4 KiB {4}400 {4}104 {2}296 {10}- {9}104$/m);
  expect(out.includes("\u001b")).toBe(false);
});
