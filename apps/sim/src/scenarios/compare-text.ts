import type { CompareMetric, CompareResult, Verdict } from "../results/compare-result.js";
import { formatQuantity } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import { paint, type Style } from "../terminal/style.js";

/** Labels of both sides, told apart when they are the same. */
function sideLabels(result: CompareResult): { a: string; b: string } {
  const [a, b] = [result.a.label, result.b.label];
  return a === b ? { a: `${a} (a)`, b: `${b} (b)` } : { a, b };
}

function verdictText(verdict: Verdict, labels: { a: string; b: string }, style: Style): string {
  if (verdict === "not distinguishable") return paint(style, "yellow", verdict);
  return paint(style, "green", `${verdict === "a better" ? labels.a : labels.b} better`);
}

function metricRow(metric: CompareMetric, labels: { a: string; b: string }, style: Style): string[] {
  const { unit, ratio } = metric;
  const value = (median: number, spread: number): string =>
    `${formatQuantity(median, unit)} ± ${formatQuantity(spread, unit)}`;
  return [
    metric.name,
    value(metric.aMedian, metric.aSpread),
    value(metric.bMedian, metric.bSpread),
    ratio === null ? "-" : ratio.toFixed(3),
    metric.pAdjusted.toFixed(3),
    verdictText(metric.verdict, labels, style),
  ];
}

/**
 * One table for one or more comparisons of the same two policies.
 * @param results at least one
 */
export function compareTable(
  results: readonly CompareResult[],
  style: Style,
  shown: (metric: CompareMetric) => boolean = () => true,
): string {
  const labels = sideLabels(results[0]!);
  const rows = results.flatMap((result) =>
    result.metrics
      .filter(shown)
      .map((metric) => [result.scenario, result.mmu, ...metricRow(metric, labels, style)]),
  );
  const head = ["scenario", "MMU", "figure", labels.a, labels.b, `${labels.b}/${labels.a}`, "p", "verdict"];
  return renderTable({ head, rows, leftColumns: [0, 1, 2, 7] }, style);
}

/** What the columns of `compareTable` are. */
export function compareLegend(results: readonly CompareResult[]): string {
  const runs = results.map(
    ({ scenario, mmu, a, b }) => `${scenario} (${mmu}) ${a.results.length} + ${b.results.length}`,
  );
  return (
    `Medians ± median absolute deviation; runs: ${runs.join(", ")}, in turn. ` +
    "p: exact two-sided rank-sum test, adjusted for the number of figures; below 0.05 counts."
  );
}

/** What makes the figures doubtful, each once, for the top of a text; an empty line after them. */
export function warningLines(results: readonly CompareResult[], style: Style): string[] {
  const warnings = [...new Set(results.flatMap((result) => result.warnings))];
  const lines = warnings.map((warning) => paint(style, "yellow", `warning: ${warning}`));
  return lines.length === 0 ? [] : [...lines, ""];
}

/** A comparison as text: warnings, table, legend, conclusion. */
export function compareText(result: CompareResult, style: Style): string {
  const table = result.metrics.length === 0 ? [] : [compareTable([result], style), ""];
  const parts = [...warningLines([result], style), ...table, compareLegend([result]), "", result.conclusion];
  return parts.join("\n");
}
