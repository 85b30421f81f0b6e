import type { TraceRecord } from "@kvm-age/trace";
import { INPUT_EVENTS } from "../input/input-events.js";
import { COMPARED_EVENTS } from "./compare-event.js";

/** Whether a replay takes events of this name as input, or compares them; not so those that stand beside the MMU, e.g. `kvm_exit`. */
export function isReplayedEvent(name: string): boolean {
  return Object.hasOwn(INPUT_EVENTS, name) || Object.hasOwn(COMPARED_EVENTS, name);
}

/** Whether a replay has a use for a record: events of the MMU, notes, and probes. */
export function isReplayed(record: TraceRecord): boolean {
  return record.kind === "kvm" ? isReplayedEvent(record.name) : record.kind !== "other";
}
