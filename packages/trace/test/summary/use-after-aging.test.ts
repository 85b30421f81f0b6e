import { createSpteFormat, type SpteFormat } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { identifyTrace, TraceSummarizer, type UseAfterAgingSummary } from "../../src/index.js";
import {
  ageGfn,
  ageGfnReturned,
  ageHva,
  changed,
  fastFixed,
  recordsOf,
  unmapHva,
} from "../support/trace-lines.js";

const HVA = 0x7f0000000000;
const YOUNG = "12345e67";
const OLD = "12345e47";
const ZAPPED = "8000000000000000";

function uses(format: SpteFormat, tdpMmu: boolean, ...lines: readonly string[]): UseAfterAgingSummary {
  const summarizer = new TraceSummarizer({ ...identifyTrace([]), format, tdpMmu });
  for (const record of recordsOf(...lines)) summarizer.observe(record);
  return summarizer.finish().useAfterAging;
}

const npt = createSpteFormat({ mode: "npt" });
const noAd = createSpteFormat({ mode: "ept", adBits: false });

/** An aging call about one page, with the change that it makes. */
function aged(us: number, before: string, after: string): string[] {
  return [ageHva(HVA, 1, { us }), changed(5, 1, before, after, { us: us + 1 })];
}

describe("time from aging to the next use", () => {
  it("is exact where the use faults", () => {
    const tracked = "d0f0000012345a70";
    const lines = [
      ...aged(100, "90a0000012345f77", tracked),
      fastFixed(0x5008, tracked, "90a0000012345f75", { us: 351 }),
    ];
    expect(uses(noAd, true, ...lines)).toMatchObject({
      exact: { count: 1, maxNs: 250_000 },
      latest: { count: 0 },
      unusedAtEnd: 0,
    });
  });

  it("an old answer about the whole address space is a look at every aged page", () => {
    const lines = [
      ...aged(100, YOUNG, OLD),
      ageHva(0, 2 ** 40, { us: 201 }),
      ageGfn(0, 2 ** 40, { us: 202 }),
      ageGfnReturned(0, { us: 203 }),
      ...aged(300, YOUNG, OLD),
    ];
    expect(uses(npt, true, ...lines)).toMatchObject({ earliest: { count: 1, maxNs: 100_000 } });
  });

  it("lies between the last look that found the page unused and the first that found it used", () => {
    const lines = [
      ...aged(100, YOUNG, OLD),
      ageHva(HVA, 1, { us: 201 }),
      ...aged(400, YOUNG, OLD),
      unmapHva(HVA, 1, { us: 500 }),
    ];
    expect(uses(npt, true, ...lines)).toMatchObject({
      exact: { count: 0 },
      earliest: { count: 1, maxNs: 100_000 },
      latest: { count: 1, maxNs: 300_000 },
      unusedAtEnd: 1,
    });
  });

  it("does not take a call that was young without a change for a look", () => {
    const lostRace = [ageHva(HVA, 1, { us: 201 }), ageGfn(5, 6, { us: 202 }), ageGfnReturned(1, { us: 203 })];
    const lines = [...aged(100, YOUNG, OLD), ...lostRace, ...aged(400, YOUNG, OLD)];
    expect(uses(npt, true, ...lines).earliest).toMatchObject({ count: 1, maxNs: 0 });
  });

  it("ends when the page goes away: used before, or unused", () => {
    const unmap = (before: string): string[] => [
      unmapHva(HVA, 1, { us: 500 }),
      changed(5, 1, before, ZAPPED, { us: 501 }),
    ];
    expect(uses(npt, true, ...aged(100, YOUNG, OLD), ...unmap(OLD))).toMatchObject({
      goneUnused: 1,
      unusedAtEnd: 0,
      latest: { count: 0 },
    });
    expect(uses(npt, true, ...aged(100, YOUNG, OLD), ...unmap(YOUNG))).toMatchObject({
      goneUnused: 0,
      latest: { count: 1, maxNs: 400_000 },
    });
  });

  it("comes from return probes where the MMU shows no changes", () => {
    const asked = (us: number, ret: number): string[] => [
      ageHva(HVA, 1, { us }),
      ageGfn(5, 6, { us }),
      ageGfnReturned(ret, { us }),
    ];
    const lines = [...asked(100, 1), ...asked(200, 0), ...asked(400, 1), unmapHva(HVA, 1, { us: 500 })];
    expect(uses(npt, false, ...lines)).toMatchObject({
      earliest: { count: 1, maxNs: 100_000 },
      latest: { count: 1, maxNs: 300_000 },
      unusedAtEnd: 1,
    });
    const unprobed = [ageHva(HVA, 1, { us: 100 }), ageHva(HVA, 1, { us: 200 })];
    expect(uses(npt, false, ...unprobed)).toMatchObject({ latest: { count: 0 }, unusedAtEnd: 0 });
  });
});
