import { ranks } from "./ranks.js";

/**
 * In how many ways `size` of the doubled ranks add up to each sum: `ways[sum]`. Ranks are doubled so that
 * shared ranks are integers too.
 */
function waysPerSum(doubledRanks: readonly number[], size: number): Float64Array {
  const total = doubledRanks.reduce((sum, rank) => sum + rank, 0);
  const ways = Array.from({ length: size + 1 }, () => new Float64Array(total + 1));
  ways[0]![0] = 1;
  for (const rank of doubledRanks) {
    for (let chosen = size; chosen >= 1; chosen--) {
      const [larger, smaller] = [ways[chosen]!, ways[chosen - 1]!];
      for (let sum = total; sum >= rank; sum--) larger[sum]! += smaller[sum - rank]!;
    }
  }
  return ways[size]!;
}

/**
 * Exact two-sided permutation test on the rank sum (Wilcoxon, Mann and Whitney), ties included: the share of
 * all ways to deal the values to two groups of these sizes whose rank sum lies at least as far from its mean.
 * Needs no random numbers. Meant for up to about 100 values in all.
 * @returns p value in (0, 1]; 1 when a sample is empty
 */
export function rankSumTest(a: readonly number[], b: readonly number[]): number {
  if (a.length === 0 || b.length === 0) return 1;
  const doubled = ranks([...a, ...b]).map((rank) => Math.round(2 * rank));
  const ways = waysPerSum(doubled, a.length);
  const mean = a.length * (a.length + b.length + 1);
  const distance = Math.abs(doubled.slice(0, a.length).reduce((sum, rank) => sum + rank, 0) - mean);
  let [extreme, all] = [0, 0];
  ways.forEach((count, sum) => {
    all += count;
    if (Math.abs(sum - mean) >= distance) extreme += count;
  });
  return extreme / all;
}

/** Smallest p value that samples of these sizes can give, when they do not overlap and have no ties. */
export function smallestPValue(aLength: number, bLength: number): number {
  const low = Array.from({ length: aLength }, (_, index) => index);
  const high = Array.from({ length: bLength }, (_, index) => aLength + index);
  return rankSumTest(low, high);
}
