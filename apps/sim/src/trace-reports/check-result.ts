import {
  explainSpte,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import { LEGALITY_RULES, type LegalityReport, type TraceIdentity, type Violation } from "@kvm-age/trace";
import { collectProvenance } from "../results/provenance.js";
import {
  type CheckedViolation,
  TRACE_CHECK_SCHEMA_ID,
  type TraceCheckResult,
} from "../results/trace-check-result.js";
import { hex } from "./hex.js";
import { identityFigures } from "./read-figures.js";

/** A value in words: its kind, where it points to, what it is going through. */
function valueWords(format: SpteFormat, spte: Spte, level: number): string {
  const known = level >= 1 && level <= 5 ? (level as PgLevel) : undefined;
  const { kind, states } = explainSpte(format, spte, known);
  const target = isShadowPresentPte(spte) ? [`pfn ${hex(spteToPfn(format, spte))}`] : [];
  return [kind, ...target, ...states].join(", ");
}

function violationFigures(format: SpteFormat, violation: Violation, text: string): CheckedViolation {
  const { line, contradicts, rule, detail, entry, history } = violation;
  return {
    ...{ line, text, contradicts, rule, ...LEGALITY_RULES[rule], detail },
    entry: entry === null ? null : { asId: entry.asId, gfn: hex(entry.gfn), level: entry.level },
    history: history.map(({ oldSpte, newSpte, ...item }) => ({
      ...item,
      oldSpte: oldSpte === null ? null : hex(oldSpte),
      newSpte: hex(newSpte),
      words: valueWords(format, newSpte, entry?.level ?? 1),
    })),
  };
}

/** What was read, beside the judgement. */
export interface CheckedTrace {
  readonly identity: TraceIdentity;
  readonly read: TraceCheckResult["read"];
  readonly unjudgedGaps: number;
}

/**
 * A check as `--json` prints it.
 * @param texts text of the lines that the violations blame
 */
export function checkResult(
  { identity, read, unjudgedGaps }: CheckedTrace,
  report: LegalityReport,
  texts: ReadonlyMap<number, string>,
): TraceCheckResult {
  return {
    schema: TRACE_CHECK_SCHEMA_ID,
    provenance: collectProvenance(),
    identity: identityFigures(identity),
    read,
    transitions: report.transitions,
    unjudgedGaps,
    assumedTables: report.assumedTables,
    violationCount: report.violationCount,
    violations: report.violations.map((violation) =>
      violationFigures(identity.format, violation, texts.get(violation.line) ?? ""),
    ),
  };
}
