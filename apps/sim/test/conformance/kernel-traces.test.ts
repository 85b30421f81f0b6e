import { describe, expect, test } from "vitest";
import { startReplay } from "../../src/conformance/replay/replay-trace.js";
import { KERNEL_TRACES, kernelTraceText, recordsOf } from "./kit/kernel-traces.js";

function replay(name: string) {
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

describe("the packages do what the kernel did", () => {
  test.each(KERNEL_TRACES)("%s", (name) => {
    const { report } = replay(name);
    expect(report.mismatches.slice(0, 3)).toEqual([]);
    for (const { compared, matched } of Object.values(report.counts)) expect(matched).toBe(compared);
    expect(report.counts.event.compared).toBeGreaterThan(30);
  });
});

describe("with one vCPU whose accesses are written down, no access is inferred", () => {
  const noted = KERNEL_TRACES.filter((name) => !/\/(race|st)_/.test(name));
  test.each(noted)("%s", (name) => {
    const { report, inferences } = replay(name);
    expect(inferences()).toMatchObject({ vms: 1, slots: 0, silentAccesses: 0 });
    // Each action of the VMM is followed by a dump or an idle answer, or both.
    expect(report.counts.entry.compared).toBeGreaterThan(0);
    expect(report.counts.idle.compared).toBeGreaterThan(0);
  });
});
