import type { KvmEvent, ProbeRecord, TraceRecord } from "@kvm-age/trace";
import type { AgevmNote } from "./agevm-note.js";

/**
 * What one task did at a stretch, in the trace: the input that it begins with and all that followed from it.
 *
 * - `note`: the VMM says something; `bracket`: a note says that something begins, and everything up to the note that it ends;
 * - `fault`, `age`, `test-age`, `unmap`: an event that is an input, and what followed;
 * - `root`: a probe shows the root that a vCPU goes on with;
 * - `unprompted`: outputs whose cause is not in the trace: a vCPU enters the guest, the dirty log is read, memory goes away.
 */
export type OperationKind =
  | "note"
  | "bracket"
  | "fault"
  | "age"
  | "test-age"
  | "unmap"
  | "root"
  | "unprompted";

/** One operation. */
export interface Operation {
  readonly kind: OperationKind;
  readonly pid: number;
  /** The note that began it, if one did. */
  readonly note: AgevmNote | null;
  readonly records: readonly TraceRecord[];
  /** Line at which it took effect: where it is put among the operations of other tasks. */
  readonly line: number;
}

/** The events of an operation. */
export function eventsOf(operation: Operation): readonly KvmEvent[] {
  return operation.records.filter((record) => record.kind === "kvm");
}

/** The probes of an operation with that name. */
export function probesOf(operation: Operation, name: string): readonly ProbeRecord[] {
  return operation.records.filter(
    (record) => record.kind === "probe" && record.name === name,
  ) as ProbeRecord[];
}
