import type { TraceIdentity, TraceSummary } from "@kvm-age/trace";
import { collectProvenance } from "../results/provenance.js";
import { TRACE_SUMMARY_SCHEMA_ID, type TraceSummaryResult } from "../results/trace-summary-result.js";
import { hex } from "./hex.js";
import { identityFigures } from "./read-figures.js";

/** A summary as `--json` prints it. */
export function summaryResult(
  identity: TraceIdentity,
  read: TraceSummaryResult["read"],
  summary: TraceSummary,
): TraceSummaryResult {
  const { aging, spteChanges, tablePages, vcpus } = summary;
  return {
    schema: TRACE_SUMMARY_SCHEMA_ID,
    provenance: collectProvenance(),
    identity: identityFigures(identity),
    read,
    span: summary.span,
    tasks: [...summary.tasks],
    vcpus: vcpus.map((row) => ({ ...row, pids: [...row.pids] })),
    aging: { ...aging, rows: [...aging.rows] },
    useAfterAging: summary.useAfterAging,
    faults: { ...summary.faults, rows: [...summary.faults.rows] },
    spteChanges: {
      changes: spteChanges.changes.map((row) => ({ ...row, byLevel: [...row.byLevel] })),
      zaps: spteChanges.zaps.map((row) => ({ ...row, byLevel: [...row.byLevel] })),
    },
    mappedAtEnd: summary.mappedAtEnd === null ? null : [...summary.mappedAtEnd],
    invalidations: [...summary.invalidations],
    tablePages: { ...tablePages, rows: [...tablePages.rows] },
    memory: summary.memory.map(({ gfn, hva, pages }) => ({ gfn: hex(gfn), hva: hex(hva), pages })),
  };
}
