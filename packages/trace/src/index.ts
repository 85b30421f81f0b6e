// page-life/, heatmap/
export { HeatCollector, type TimeWindow } from "./heatmap/heat-collector.js";
export { HeatGrid } from "./heatmap/heat-grid.js";
export { type HeatMap, type HeatMapSize, type HeatRow, heatMap } from "./heatmap/heat-map.js";
// identify/, state/, summary/
export { type IdentifiedTrace, openIdentifiedTrace } from "./identify/identified-trace.js";
export { identifyTrace } from "./identify/identify-trace.js";
export { ruleSetOf } from "./identify/rule-set-of.js";
export { TraceIdentifier } from "./identify/trace-identifier.js";
export {
  TRACE_MMU_MODES,
  type TraceIdentity,
  type TraceIdentityOverrides,
  type TraceMmuMode,
} from "./identify/trace-identity.js";
// legality/
export { checkTrace } from "./legality/check-trace.js";
export { LegalityChecker, type LegalityOptions } from "./legality/legality-checker.js";
export { LEGALITY_RULES, type LegalityRule, type LegalityRuleName } from "./legality/rules.js";
export type { SharedVcpu } from "./legality/several-vms.js";
export type { EntryIdentity, HistoryItem, LegalityReport, Violation } from "./legality/violation.js";
export { AmbiguousPageError, InvalidPageNameError, UnknownPageError } from "./page-life/errors.js";
export type { PageEvent, PageSpte } from "./page-life/page-event.js";
export { PageInventory } from "./page-life/page-inventory.js";
export { PageLife } from "./page-life/page-life.js";
export { resolvePage } from "./page-life/resolve-page.js";
export {
  assertSchemaEvent,
  NotASchemaEventError,
  schemaEventProblems,
} from "./schema/assert-schema-event.js";
export { TRACE_KERNELS, type TraceKernel } from "./schema/kernel-layout.js";
export type { KvmEventFields, KvmEventName, KvmMmuPageFields } from "./schema/kvm-event-fields.js";
export { KVM_EVENT_SHAPES, type KvmEventShapes, type KvmFieldKind } from "./schema/kvm-event-shapes.js";
export { KVM_PFN_NOSLOT } from "./schema/kvm-pfn-noslot.js";
// text/
export type { NeighbourEventFields } from "./schema/neighbour-event-fields.js";
export {
  type KvmEvent,
  type NoteRecord,
  type OtherRecord,
  type ProbeRecord,
  type RecordOrigin,
  TRACE_SCHEMA_VERSION,
  type TraceRecord,
} from "./schema/trace-record.js";
export type { AgedLeaf, AgingCall, AskedGfnRange } from "./state/aging-call.js";
export { AgingCalls } from "./state/aging-calls.js";
export { entryLevel } from "./state/entry-level.js";
export { GuestMemoryMap, type GuestMemoryRange } from "./state/guest-memory-map.js";
export { isAgingChange } from "./state/is-aging-change.js";
export { learnFromAgingCall, learnFromNote } from "./state/learn-memory.js";
export { decimalField, hexField, noteFields } from "./state/note-fields.js";
export { SPTE_CHANGE_WORDS, type SpteChangeKind, spteChangeKind } from "./state/spte-change-kind.js";
export { type KnownLeaf, SpteStates } from "./state/spte-states.js";
export type { AgingRow, AgingSummary } from "./summary/aging-summary.js";
export type { DurationFigures } from "./summary/durations.js";
export { type FaultAccess, faultAccess, faultedInGuestWalk } from "./summary/fault-access.js";
export type { FaultRow, FaultSummary } from "./summary/fault-summary.js";
export { FAULT_OUTCOMES, type FaultOutcome } from "./summary/guest-fault.js";
export type { InvalidationRow } from "./summary/invalidation-summary.js";
export { RANGE_SIZES, type RangeSize } from "./summary/range-size.js";
export type { SpteChangeRow, SpteChangeSummary, ZapRow } from "./summary/spte-change-summary.js";
export type { TablePageRow, TablePageSummary } from "./summary/table-page-summary.js";
export type { TaskRow, VcpuRow } from "./summary/task-summary.js";
export { TraceSummarizer } from "./summary/trace-summarizer.js";
export type { TraceSummary } from "./summary/trace-summary.js";
export type { UseAfterAgingSummary } from "./summary/use-after-aging.js";
export { ZAP_CAUSES, type ZapCause } from "./summary/zap-causes.js";
export {
  BinaryTraceError,
  DamagedLineError,
  TruncatedTraceError,
  UnwritableRecordError,
} from "./text/errors.js";
export { eventSystem } from "./text/event-system.js";
export { formatTraceRecord, type TraceForm, type TraceTextLayout } from "./text/format-trace-record.js";
export type { TraceReadOptions } from "./text/line-reader.js";
export { openTrace } from "./text/open-trace.js";
export { type ParsedTrace, parseTraceText } from "./text/parse-trace-text.js";
export type { TextEvidence } from "./text/text-evidence.js";
export { traceHeader } from "./text/trace-header.js";
export type { DamagedLine, TraceCounts, TraceReadReport } from "./text/trace-read-report.js";
export { readTrace, type TraceReader } from "./text/trace-reader.js";
