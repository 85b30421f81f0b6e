import type { GuestMemoryRange } from "../state/guest-memory-map.js";
import type { AgingSummary } from "./aging-summary.js";
import type { FaultSummary } from "./fault-summary.js";
import type { InvalidationRow } from "./invalidation-summary.js";
import type { SpteChangeSummary } from "./spte-change-summary.js";
import type { TablePageSummary } from "./table-page-summary.js";
import type { TaskRow, VcpuRow } from "./task-summary.js";
import type { UseAfterAgingSummary } from "./use-after-aging.js";

/** What a trace tells about guest memory and its aging. */
export interface TraceSummary {
  /** Times of the first and last record, in nanoseconds of the trace clock; null without records. */
  readonly span: { readonly firstNs: number; readonly lastNs: number } | null;
  readonly tasks: readonly TaskRow[];
  readonly vcpus: readonly VcpuRow[];
  readonly aging: AgingSummary;
  readonly useAfterAging: UseAfterAgingSummary;
  readonly faults: FaultSummary;
  readonly spteChanges: SpteChangeSummary;
  /** Leaves known to be mapped at the end, by level: index 0 is 4 KiB. Null without the TDP MMU, whose SPTE changes tell. */
  readonly mappedAtEnd: readonly [number, number, number] | null;
  readonly invalidations: readonly InvalidationRow[];
  readonly tablePages: TablePageSummary;
  /** Where guest frames stand in host-virtual memory, as far as the trace shows. */
  readonly memory: readonly GuestMemoryRange[];
}
