import type { TraceRecord } from "@kvm-age/trace";
import { COMPARED_EVENTS } from "./compare-event.js";

/** Events that are inputs of the MMU: they are replayed, not compared. */
const INPUT_EVENTS: ReadonlySet<string> = new Set([
  "kvm_page_fault",
  "kvm_age_hva",
  "kvm_test_age_hva",
  "kvm_unmap_hva_range",
]);

/** Whether a replay takes events of this name as input, or compares them; not so those that stand beside the MMU, e.g. `kvm_exit`. */
export function isReplayedEvent(name: string): boolean {
  return INPUT_EVENTS.has(name) || Object.hasOwn(COMPARED_EVENTS, name);
}

/** Whether a replay has a use for a record: events of the MMU, notes, and probes. */
export function isReplayed(record: TraceRecord): boolean {
  return record.kind === "kvm" ? isReplayedEvent(record.name) : record.kind !== "other";
}
