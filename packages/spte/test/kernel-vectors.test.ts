import { describe, expect, it } from "vitest";
import { linux73, linux615, type RuleSet, type SpteFormat } from "../src/index.js";
import { masksOut } from "./masks-out.js";
import { type Fields, readVectorFile, type SetUp, type VectorCase, type VectorFile } from "./vector-file.js";
import { replaySetUp } from "./vector-format.js";
import { vectorFunctions } from "./vector-results.js";

/** Cases in each file: a file that lost some must fail. */
const caseCounts: readonly [RuleSet, string, number][] = [
  [linux615, "access-track", 725],
  [linux615, "huge-split", 494],
  [linux615, "make-huge", 508],
  [linux615, "make-spte", 1799],
  [linux615, "mmio", 631],
  [linux615, "nonleaf", 279],
  [linux615, "predicates", 3518],
  [linux615, "tlb-flush", 550],
  [linux73, "access-track", 767],
  [linux73, "huge-split", 565],
  [linux73, "make-huge", 491],
  [linux73, "make-spte", 1523],
  [linux73, "mmio", 564],
  [linux73, "nonleaf", 250],
  [linux73, "permission", 593],
  [linux73, "predicates", 2693],
  [linux73, "tlb-flush", 556],
];

/** The order of predicate names carries no meaning. */
function normalised(out: Fields): Fields {
  return Array.isArray(out.true) ? { ...out, true: [...out.true].sort() } : out;
}

function formatsOf(rules: RuleSet, file: VectorFile): Map<string, SpteFormat> {
  const configs = Object.entries(file.configs ?? {});
  return new Map(configs.map(([id, config]) => [id, replaySetUp(rules, config.in)]));
}

/**
 * One 6.15 file (mmio) was recorded with 6.12's set-up, whose A/D masks are 0 for EPT without A/D bits; since
 * 6.13 they are always set. MMIO entries do not depend on them.
 */
function adMasksSince613(file: VectorFile, setUp: SetUp): Fields {
  if (!file.source.startsWith("Linux 6.12") || setUp.mode !== "ept") return {};
  return { shadow_accessed_mask: "0x100", shadow_dirty_mask: "0x200" };
}

/** Compares every output key of every case; returns what differs. */
function failures(cases: readonly VectorCase[], compute: (vector: VectorCase) => Fields): unknown[] {
  const differing: unknown[] = [];
  for (const vector of cases) {
    const got = compute(vector);
    const want = normalised(vector.out);
    try {
      expect(got).toStrictEqual(want);
    } catch {
      differing.push({ id: vector.id ?? vector.config, in: vector.in, want, got });
    }
  }
  return differing.slice(0, 5);
}

describe("results of the kernel's own functions", () => {
  it.each(caseCounts)("$name %s: all %i cases", (rules, set, count) => {
    const file = readVectorFile(rules.name, set);
    const formats = formatsOf(rules, file);
    expect(file.cases).toHaveLength(count);
    expect(failures(file.cases, (v) => vectorFunctions[set]!(formats.get(v.config)!, v.in))).toEqual([]);
  });

  it.each([
    [linux615, 130],
    [linux73, 100],
  ])("$name masks: all %i set-ups", (rules, count) => {
    const { cases } = readVectorFile(rules.name, "masks");
    expect(cases).toHaveLength(count);
    expect(failures(cases, (v) => masksOut(replaySetUp(rules, v.in as SetUp)))).toEqual([]);
  });

  it.each(caseCounts)("$name %s: the configurations' masks", (rules, set) => {
    const file = readVectorFile(rules.name, set);
    const configs = Object.entries(file.configs ?? {});
    const cases = configs.map(([config, { in: setUp, out }]) => {
      return { config, in: setUp, out: { ...out, ...adMasksSince613(file, setUp) } };
    });
    expect(cases.length).toBeGreaterThan(0);
    expect(failures(cases, (v) => masksOut(replaySetUp(rules, v.in as SetUp)))).toEqual([]);
  });
});
