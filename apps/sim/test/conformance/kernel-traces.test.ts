import { describe, expect, test } from "vitest";
import { type StartedReplay, startReplay } from "../../src/conformance/replay/replay-trace.js";
import { KERNEL_TRACES, kernelTraceText, recordsOf } from "./kit/kernel-traces.js";

function replay(name: string): StartedReplay {
  const started = startReplay(recordsOf(kernelTraceText(name)));
  for (const _ of started.steps);
  return started;
}

const MODES = [
  "linux-6.12-npt-tdpmmu",
  "linux-7.3-ept-ad",
  "linux-7.3-ept-noad-acctrack",
  "linux-7.3-nonpt",
  "linux-7.3-npt-shadowmmu",
  "linux-7.3-npt-tdpmmu",
];

test("there are traces of every mode", () => {
  const modes = new Set(KERNEL_TRACES.map((name) => name.split("/")[0]!));
  expect([...modes].sort()).toEqual(MODES);
  for (const mode of MODES) {
    expect(KERNEL_TRACES.filter((name) => name.startsWith(`${mode}/`)).length).toBeGreaterThanOrEqual(14);
  }
});

/** Traces of one vCPU whose VMM writes down each of its own and its guest's accesses. */
function isNoted(name: string): boolean {
  return !/\/(race|st)_/.test(name);
}

describe("the packages do what the kernel did", () => {
  test.each(KERNEL_TRACES)("%s", (name) => {
    const { report, inferences } = replay(name);
    expect(report.mismatches.slice(0, 3)).toEqual([]);
    for (const { compared, matched } of Object.values(report.counts)) expect(matched).toBe(compared);
    expect(report.counts.event.compared).toBeGreaterThan(30);
    if (!isNoted(name)) return;
    // Nothing that the guest does is inferred, and what comes of it is looked at.
    expect(inferences()).toMatchObject({ vms: 1, slots: 0, silentAccesses: 0 });
    expect(report.counts.entry.compared).toBeGreaterThan(0);
    expect(report.counts.idle.compared).toBeGreaterThan(0);
  });
});
