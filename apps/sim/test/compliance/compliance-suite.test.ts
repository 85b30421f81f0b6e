import { describe, expect, it } from "vitest";
import type { SuiteOptions } from "../../src/compliance/suite/suite-options.js";
import { POLICIES } from "../../src/options/mmu-options.js";
import { MMUS } from "../../src/vm/mmu-shape.js";

const built = new URL("../../dist/torture.js", import.meta.url).href;
const { runComplianceSuite } = (await import(built)) as typeof import("../../src/torture/main.js");

const SEED = 20_261_122;

const BASE: SuiteOptions = {
  mmu: "tdp",
  policy: "lockless",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: SEED,
  tuning: {},
  hugePages: false,
  operations: 150,
  checkEvery: 50,
};

/** Everything that can be combined, NPT and huge pages, and what KVM can be told, taking turns. */
function cases(): SuiteOptions[] {
  const all: SuiteOptions[] = [];
  for (const mmu of MMUS) {
    for (const policy of POLICIES) {
      for (const ruleSet of ["linux-6.12", "linux-6.15", "linux-7.3"] as const) {
        // Ordinary page tables always have A and D.
        for (const adBits of mmu === "shadow" ? [true] : [true, false]) {
          const turn = all.length;
          all.push({
            ...BASE,
            mmu,
            policy,
            ruleSet,
            adBits,
            mmuMode: adBits && turn % 3 === 0 ? "npt" : "ept",
            hugePages: turn % 4 === 1,
            seed: SEED + turn,
            tuning: {
              slotZapAll: turn % 5 !== 0,
              nxHugePages: turn % 4 === 1,
              dirtyLogManualProtect: turn % 7 < 3,
              dirtyLogInitiallySet: turn % 7 < 2,
            },
          });
        }
      }
    }
  }
  return all;
}

const nameOf = ({ mmu, policy, mmuMode, adBits, ruleSet, hugePages, seed }: SuiteOptions): string =>
  `${mmu} ${policy} ${mmuMode} ${adBits ? "A/D" : "no A/D"} ${ruleSet}${hugePages ? " huge" : ""} (seed ${seed})`;

describe("the compliance suite", () => {
  it.each(cases().map((options) => [nameOf(options), options] as const))("%s", (_name, options) => {
    const { violations, accesses } = runComplianceSuite(options);
    expect(violations).toEqual([]);
    expect(accesses).toBeGreaterThan(30);
  });

  // locking.md §13.11: whatever agers do, and whenever, everything but age comes out the same.
  it.each(
    MMUS.flatMap((mmu) =>
      [true, false].filter((adBits) => adBits || mmu !== "shadow").map((adBits) => [mmu, adBits] as const),
    ),
  )("aging changes nothing but age: %s, A/D bits %s", (mmu, adBits) => {
    const tuning = { slotZapAll: false };
    const options = { ...BASE, mmu, adBits, tuning, reclaims: false, operations: 200, checkEvery: 200 };
    const aged = runComplianceSuite(options);
    const left = runComplianceSuite({ ...options, ages: false });
    expect(aged.violations).toEqual([]);
    expect(aged.mappings.length).toBeGreaterThan(20);
    expect(aged.mappings).toEqual(left.mappings);
  });
});
