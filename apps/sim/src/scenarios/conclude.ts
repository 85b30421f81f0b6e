import type { CompareMetric, Verdict } from "../results/compare-result.js";

function named(metrics: readonly CompareMetric[]): string {
  const texts = metrics.map(({ name, ratio }) => (ratio === null ? name : `${name} ${ratio.toFixed(2)}x`));
  return texts.join(", ");
}

/**
 * A clause, without a full stop, on what the metrics support: in which figures `b` is better or worse than `a`, with the ratio
 * b / a of the medians, and how many do not tell them apart.
 */
export function conclude(
  labels: { readonly a: string; readonly b: string },
  metrics: readonly CompareMetric[],
): string {
  const { a, b } = labels;
  if (metrics.length === 0) return `there are no figures to compare ${a} and ${b} by`;
  const withVerdict = (verdict: Verdict): CompareMetric[] =>
    metrics.filter((metric) => metric.verdict === verdict);
  const [better, worse] = [withVerdict("b better"), withVerdict("a better")];
  const total = `${metrics.length} figure${metrics.length === 1 ? "" : "s"}`;
  if (better.length + worse.length === 0)
    return `these runs do not tell ${a} and ${b} apart in any of ${total}`;
  const parts = [
    better.length > 0 ? `better than ${a} in ${better.length} of ${total} (${named(better)})` : "",
    worse.length > 0 ? `worse than ${a} in ${worse.length} of ${total} (${named(worse)})` : "",
  ].filter((part) => part !== "");
  const open = metrics.length - better.length - worse.length;
  const rest = open === 0 ? "" : `; ${open} ${open === 1 ? "is" : "are"} not distinguishable`;
  return `${b} is ${parts.join(" and ")}${rest}`;
}

/** Makes a clause a sentence. */
export function sentence(clause: string): string {
  return `${clause.charAt(0).toUpperCase()}${clause.slice(1)}.`;
}
