import { describe, expect, test } from "vitest";
import { replayTrace, startReplay } from "../../src/conformance/replay/replay-trace.js";
import { KERNEL_TRACES, kernelTraceText, recordsOf } from "./kit/kernel-traces.js";

const NOTE = /: agevm: /;
const PROBE =
  /: (pgdv?|[a-z_]+_ret|(test_)?(age|unmap)_gfn|(test|clear)_(flush_)?young|tdp_age|rmap_age): \(/;

/** What a trace looks like to somebody who recorded KVM's events and nothing else; the numbers of the lines stay. */
function withoutWords(text: string, ...patterns: readonly RegExp[]): string {
  const lines = text.split("\n");
  return lines.map((line) => (patterns.some((pattern) => pattern.test(line)) ? "#" : line)).join("\n");
}

/** The shadow MMU prints neither what it ages nor what it unmaps; of the nested guest's tables nothing is known when they are first walked. */
const HIDDEN: ReadonlySet<string> = new Set([
  "linux-7.3-nonpt/mprotect4k",
  "linux-7.3-nonpt/thp_split_dontneed",
  "linux-7.3-npt-shadowmmu/dirty4k",
  "linux-7.3-npt-shadowmmu/dirty_thp",
  "linux-7.3-npt-shadowmmu/mprotect4k",
  "linux-7.3-npt-shadowmmu/thp_split_dontneed",
  "linux-7.3-npt-tdpmmu/st_nested_dirty_log",
]);

describe("traces of KVM's events alone conform, if they show what was done", () => {
  test.each(KERNEL_TRACES.filter((name) => !HIDDEN.has(name)))("%s", (name) => {
    const records = recordsOf(withoutWords(kernelTraceText(name), NOTE, PROBE));
    const report = replayTrace(records);
    expect(report.mismatches.slice(0, 3)).toEqual([]);
    expect(report.counts.event.compared).toBeGreaterThan(30);
    expect(report.counts.entry.compared).toBe(0);
  });
});

describe("what is not known of a trace", () => {
  const RECORDED = kernelTraceText("linux-7.3-npt-tdpmmu/age4k");

  test("two runs of the recorded VMM in one file are two VMs, each with its own words", () => {
    const { steps, report, inferences } = startReplay(recordsOf(`${RECORDED}\n${RECORDED}`));
    for (const _ of steps);
    expect(report.mismatches.slice(0, 3)).toEqual([]);
    expect(inferences()).toMatchObject({ vms: 2, slots: 0, silentAccesses: 0 });
    expect(report.counts.entry.compared).toBe(2 * replayTrace(recordsOf(RECORDED)).counts.entry.compared);
  });

  test("an event without a known cause is one mismatch, and nothing is torn down for it", () => {
    const lines = RECORDED.split("\n");
    const at = lines.findIndex((line) => line.includes("guest_w end"));
    const change = lines.find((line) => line.includes("kvm_tdp_mmu_spte_changed"))!;
    const gains = change.replace(/gfn .*/, "gfn 40000 level 1 old_spte 10000e63 new_spte 10000e67");
    lines[at] = `${gains}\n${lines[at]}`;
    const { mismatches } = replayTrace(recordsOf(lines.join("\n")));
    expect(mismatches).toHaveLength(1);
    expect(mismatches[0]).toMatchObject({ kind: "event", line: at + 1, model: "(nothing)" });
  });
});
