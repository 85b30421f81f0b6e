import type { CheckedViolation, TraceCheckResult } from "../results/trace-check-result.js";
import { formatCount } from "../terminal/format-quantity.js";
import { paint, type Style } from "../terminal/style.js";
import { identityText } from "./identity-text.js";

const INDENT = "  ";

function historyLines({ history }: CheckedViolation): string[] {
  if (history.length === 0) return [`${INDENT}nothing was seen of the entry before`];
  const lines = history.flatMap(({ line, timestampNs, comm, pid, event, oldSpte, newSpte, words }) => {
    const values = oldSpte === null || oldSpte === newSpte ? newSpte : `${oldSpte} -> ${newSpte}`;
    const time = (timestampNs * 1e-9).toFixed(6);
    return [
      `${INDENT}  line ${line}, ${time} s, ${comm}-${pid}: ${event} ${values}`,
      `${INDENT}      ${words}`,
    ];
  });
  return [`${INDENT}the entry before:`, ...lines];
}

function violationText(violation: CheckedViolation, style: Style): string {
  const { line, text, contradicts, rule, statement, source, detail, entry } = violation;
  const other = contradicts === null || contradicts === 0 ? "" : ` (contradicts line ${contradicts})`;
  const place =
    entry === null
      ? []
      : [`${INDENT}entry: gfn ${entry.gfn}, level ${entry.level}, address space ${entry.asId}`];
  return [
    `${paint(style, "red", `line ${line}`)}: ${paint(style, "bold", rule)}${other}`,
    `${INDENT}${text.trim()}`,
    `${INDENT}${detail}`,
    `${INDENT}rule: ${statement} [${source}]`,
    ...place,
    ...(entry === null ? [] : historyLines(violation)),
  ].join("\n");
}

/** A check as text. */
export function checkText(result: TraceCheckResult, style: Style): string {
  const { violations, violationCount, transitions, unjudgedGaps, assumedTables, warnings, read } = result;
  const more = violationCount - violations.length;
  const found =
    violationCount === 0
      ? paint(style, "green", "no violation")
      : `${formatCount(violationCount)} ${violationCount === 1 ? "violation" : "violations"}`;
  const notes = [
    ...warnings.map((warning) => `${paint(style, "yellow", "warning")}: ${warning}`),
    ...(more > 0 ? [`… and ${formatCount(more)} more: see --max`] : []),
    ...(unjudgedGaps > 0
      ? [`events were lost at ${formatCount(unjudgedGaps)} places: entries were learnt anew after each`]
      : []),
    ...(assumedTables > 0
      ? [
          `${formatCount(assumedTables)} page tables are older than the trace: their entries were believed at first sight`,
        ]
      : []),
  ];
  return [
    ...violations.map((violation) => `${violationText(violation, style)}\n`),
    `${identityText(result.identity)}: ${found} in ${formatCount(read.records)} records, of which ${formatCount(transitions)} show SPTEs`,
    ...notes,
  ].join("\n");
}
