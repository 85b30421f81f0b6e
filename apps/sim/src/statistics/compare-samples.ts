import { median, medianAbsoluteDeviation } from "simple-statistics";
import type { CompareMetric, Verdict } from "../results/compare-result.js";
import { adjustPValues } from "./adjust-p-values.js";
import { rankSumTest } from "./rank-sum-test.js";

/** Two samples count as different when their adjusted p value is below this. */
export const SIGNIFICANCE: number = 0.05;

/** What a figure is, and which direction is an improvement. */
export interface MetricKind {
  readonly name: string;
  /** `s`, `ns`, `count` or `share`. */
  readonly unit: string;
  readonly better: "lower" | "higher";
  /** Whether it belongs in a short table. */
  readonly headline: boolean;
}

/** A figure of two series of runs; each sample has at least one value. */
export interface SamplePair {
  readonly kind: MetricKind;
  readonly a: readonly number[];
  readonly b: readonly number[];
}

function verdict(better: MetricKind["better"], a: number, b: number, pAdjusted: number): Verdict {
  if (pAdjusted >= SIGNIFICANCE || a === b) return "not distinguishable";
  return a < b === (better === "lower") ? "a better" : "b better";
}

function compareOne({ kind, a, b }: SamplePair, pValue: number, pAdjusted: number): CompareMetric {
  const [aMedian, bMedian] = [median([...a]), median([...b])];
  return {
    ...kind,
    aMedian,
    bMedian,
    aSpread: medianAbsoluteDeviation([...a]),
    bSpread: medianAbsoluteDeviation([...b]),
    ratio: aMedian === 0 ? null : bMedian / aMedian,
    pValue,
    pAdjusted,
    verdict: verdict(kind.better, aMedian, bMedian, pAdjusted),
  };
}

/**
 * Compares figures of two series of runs: medians, spreads, tests and verdicts. The verdict is "not
 * distinguishable" at an adjusted p of 0.05 or more, which with three runs or fewer a side is always so, and
 * for equal medians.
 */
export function compareSamples(pairs: readonly SamplePair[]): CompareMetric[] {
  const pValues = pairs.map(({ a, b }) => rankSumTest(a, b));
  const adjusted = adjustPValues(pValues);
  return pairs.map((pair, index) => compareOne(pair, pValues[index]!, adjusted[index]!));
}
