import type { SpteFormat } from "@kvm-age/spte";
import { LEGALITY_RULES, type LegalityReport, type TraceIdentity, type Violation } from "@kvm-age/trace";
import { collectProvenance } from "../results/provenance.js";
import {
  type CheckedViolation,
  TRACE_CHECK_SCHEMA_ID,
  type TraceCheckResult,
} from "../results/trace-check-result.js";
import { hex } from "./hex.js";
import { identityFigures } from "./read-figures.js";
import { valueWords } from "./value-words.js";

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

function warningsOf({ sharedVcpu }: LegalityReport): string[] {
  if (sharedVcpu === null) return [];
  const { vcpu, pids } = sharedVcpu;
  return [
    `the trace seems to hold several VMs (vCPU ${vcpu} runs as tasks ${pids[0]} and ${pids[1]}): state is judged as if it were one; record one VM, or keep the lines of one VM's tasks`,
  ];
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
    warnings: warningsOf(report),
    violationCount: report.violationCount,
    violations: report.violations.map((violation) =>
      violationFigures(identity.format, violation, texts.get(violation.line) ?? ""),
    ),
  };
}
