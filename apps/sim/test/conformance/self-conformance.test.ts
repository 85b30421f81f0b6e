import { describe, expect, test } from "vitest";
import { modelTrace } from "../../src/bench/model-trace.js";
import { startReplay } from "../../src/conformance/replay/replay-trace.js";
import { recordsOf } from "./kit/kernel-traces.js";

const PAGES = 700;
const ROUNDS = 3;

describe("the packages' own trace", () => {
  const text = modelTrace(PAGES, ROUNDS);

  test("conforms to a replay of itself, in which the guest's accesses are inferred", () => {
    const { steps, report, inferences } = startReplay(recordsOf(text));
    for (const _ of steps);
    expect(report.mismatches).toEqual([]);
    // Three lines for each first fault, one for each aging, and the tables.
    expect(report.counts.event.compared).toBeGreaterThan(PAGES * (3 + ROUNDS));
    expect(inferences()).toMatchObject({ vms: 1, slots: 1, silentAccesses: PAGES * (ROUNDS - 1) });
  });

  test("with one page's aging left out it does not", () => {
    const lines = text.split("\n");
    const call = lines.findIndex((line) => line.includes("kvm_age_hva"));
    lines.splice(call, 1);
    const { steps, report } = startReplay(recordsOf(lines.join("\n")));
    for (const _ of steps);
    expect(report.mismatches.length).toBeGreaterThan(0);
  });

  test("steps can be taken one by one", () => {
    const { steps, report, operations } = startReplay(recordsOf(text));
    const [first] = steps;
    expect(first).toBeUndefined();
    expect(operations.length).toBeGreaterThan(PAGES);
    expect(report.counts.event.compared).toBe(1);
  });
});
