import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adjustPValues } from "../../src/statistics/adjust-p-values.js";
import { compareSamples, type MetricKind } from "../../src/statistics/compare-samples.js";
import { rankSumTest, smallestPValue } from "../../src/statistics/rank-sum-test.js";
import { ranks } from "../../src/statistics/ranks.js";

const TIME: MetricKind = { name: "time", unit: "s", better: "lower", headline: true };
const sample = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 5 });

/** All ways to choose `size` of the indices below `total`. */
function choices(total: number, size: number): number[][] {
  if (size === 0) return [[]];
  if (total < size) return [];
  const without = choices(total - 1, size);
  return [...without, ...choices(total - 1, size - 1).map((chosen) => [...chosen, total - 1])];
}

/** The definition of the test, by enumeration. */
function enumeratedP(a: readonly number[], b: readonly number[]): number {
  const all = ranks([...a, ...b]);
  const mean = (a.length * (all.length + 1)) / 2;
  const distance = (chosen: readonly number[]): number =>
    Math.abs(chosen.reduce((sum, index) => sum + all[index]!, 0) - mean);
  const observed = distance(a.map((_, index) => index));
  const ways = choices(all.length, a.length);
  return ways.filter((chosen) => distance(chosen) >= observed).length / ways.length;
}

describe("ranks", () => {
  test("start at 1 and share ties", () => {
    expect(ranks([30, 10, 20])).toEqual([3, 1, 2]);
    expect(ranks([5, 5, 1, 5])).toEqual([3, 3, 1, 3]);
    expect(ranks([2, 2])).toEqual([1.5, 1.5]);
    expect(ranks([])).toEqual([]);
  });
});

describe("rankSumTest", () => {
  test("gives the published exact values", () => {
    expect(rankSumTest([1, 2, 3], [4, 5, 6])).toBeCloseTo(2 / 20, 12);
    expect(rankSumTest([1, 2, 3, 4], [5, 6, 7, 8])).toBeCloseTo(2 / 70, 12);
    expect(rankSumTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252, 12);
    expect(rankSumTest([1, 2, 3, 5], [4, 6, 7, 8])).toBeCloseTo(4 / 70, 12);
  });

  test("finds nothing where there is nothing", () => {
    expect(rankSumTest([7, 7, 7], [7, 7, 7])).toBe(1);
    expect(rankSumTest([1], [2])).toBe(1);
    expect(rankSumTest([], [1, 2])).toBe(1);
  });

  test("equals the enumeration of all assignments, ties and unequal sizes included", () => {
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        expect(rankSumTest(a, b)).toBeCloseTo(enumeratedP(a, b), 12);
      }),
    );
  });

  test("is the same for swapped sides", () => {
    fc.assert(
      fc.property(sample, sample, (a, b) => {
        expect(rankSumTest(a, b)).toBeCloseTo(rankSumTest(b, a), 12);
      }),
    );
  });

  test("stands 50 values a side", () => {
    const low = Array.from({ length: 50 }, (_, index) => index);
    expect(rankSumTest(low, low)).toBe(1);
    expect(smallestPValue(50, 50)).toBeGreaterThan(0);
    expect(smallestPValue(50, 50)).toBeLessThan(1e-25);
  });

  test("needs four runs a side to find anything", () => {
    expect(smallestPValue(3, 3)).toBeCloseTo(0.1, 12);
    expect(smallestPValue(4, 4)).toBeCloseTo(0.0286, 4);
  });
});

describe("adjustPValues", () => {
  test("gives the textbook values", () => {
    expect(adjustPValues([0.01, 0.04, 0.03, 0.5]).map((p) => p.toFixed(4))).toEqual([
      "0.0400",
      "0.0533",
      "0.0533",
      "0.5000",
    ]);
    expect(adjustPValues([0.008])).toEqual([0.008]);
    expect(adjustPValues([])).toEqual([]);
  });

  test("lowers nothing, exceeds nothing, keeps the order", () => {
    const pValue = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(pValue, { minLength: 2 }), (pValues) => {
        const adjusted = adjustPValues(pValues);
        expect(adjusted.every((p, index) => p >= pValues[index]! && p <= 1)).toBe(true);
        if (pValues[0]! <= pValues[1]!) expect(adjusted[0]!).toBeLessThanOrEqual(adjusted[1]!);
      }),
    );
  });
});

describe("compareSamples", () => {
  const low = [1, 2, 3, 4, 5];
  const high = [11, 12, 13, 14, 16];

  test("gives medians, spreads, ratio, p and verdict", () => {
    expect(compareSamples([{ kind: TIME, a: high, b: low }])).toEqual([
      {
        ...TIME,
        aMedian: 13,
        bMedian: 3,
        aSpread: 1,
        bSpread: 1,
        ratio: 3 / 13,
        pValue: 2 / 252,
        pAdjusted: 2 / 252,
        verdict: "b better",
      },
    ]);
  });

  test.each([
    ["lower", low, high, "a better"],
    ["lower", high, low, "b better"],
    ["higher", low, high, "b better"],
    ["higher", high, low, "a better"],
    ["lower", [1, 2, 3], [11, 12, 13], "not distinguishable"],
    ["lower", low, low, "not distinguishable"],
    ["lower", [1, 3, 5, 7, 9], [2, 4, 6, 8, 10], "not distinguishable"],
  ] as const)("%s is better, %j against %j: %s", (better, a, b, verdict) => {
    expect(compareSamples([{ kind: { ...TIME, better }, a, b }])[0]!.verdict).toBe(verdict);
  });

  test("calls one difference among many figures chance", () => {
    const same = { kind: TIME, a: low, b: low };
    const [first] = compareSamples([
      { kind: TIME, a: high, b: low },
      ...Array.from({ length: 9 }, () => same),
    ]);
    expect(first!.pValue).toBeLessThan(0.05);
    expect(first!.verdict).toBe("not distinguishable");
  });

  test("has no ratio to zero", () => {
    expect(compareSamples([{ kind: TIME, a: [0, 0], b: [1, 2] }])[0]!.ratio).toBeNull();
  });

  test("leaves the samples as they were", () => {
    const a = [3, 1, 2];
    compareSamples([{ kind: TIME, a, b: a }]);
    expect(a).toEqual([3, 1, 2]);
  });
});
