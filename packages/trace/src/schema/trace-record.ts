import type { KvmEventFields, KvmEventName } from "./kvm-event-fields.js";

/** Version of the schema of records: raised when a field changes its name, unit or meaning. */
export const TRACE_SCHEMA_VERSION = 1;

/** Who wrote a line, and when. */
export interface RecordOrigin {
  /** Line in the text, from 1; 0 for a record that was not read from text. */
  readonly line: number;
  /** Name of the task, at most 15 characters. */
  readonly comm: string;
  readonly pid: number;
  readonly cpu: number;
  /** The latency flags (`...1.`), empty if the text has none. */
  readonly flags: string;
  /**
   * Nanoseconds of the trace clock. Microseconds stay exact for 146 years of uptime, nanoseconds for 104 days. Of a clock that does not
   * count nanoseconds (`counter`, `x86-tsc`, `uptime`): what it counts.
   */
  readonly timestampNs: number;
}

/** One event of KVM's MMU. Narrows by `name`. */
export type KvmEvent = {
  [Name in KvmEventName]: RecordOrigin & {
    readonly kind: "kvm";
    readonly name: Name;
    readonly fields: KvmEventFields[Name];
  };
}[KvmEventName];

/** Text that somebody wrote to `trace_marker` (`tracing_mark_write`). */
export interface NoteRecord extends RecordOrigin {
  readonly kind: "note";
  readonly text: string;
}

/** A kprobe or kretprobe event: the place, and the arguments that were recorded. */
export interface ProbeRecord extends RecordOrigin {
  readonly kind: "probe";
  readonly name: string;
  /** As printed, e.g. `kvm_age_gfn+0x4/0x60`, or `caller+0x1/0x2 <- callee` of a return probe. */
  readonly place: string;
  /** Arguments by name. Values that are no integers are left out. */
  readonly args: Readonly<Record<string, bigint>>;
  /** Names of the arguments that stand in decimal (types `u8` to `s64`). Without it all are hexadecimal, as an argument without a type is. */
  readonly decimalArgs?: readonly string[];
}

/** An event of somebody else, or one of KVM's without a layout here. */
export interface OtherRecord extends RecordOrigin {
  readonly kind: "other";
  readonly name: string;
  readonly payload: string;
}

/** One line of a trace. */
export type TraceRecord = KvmEvent | NoteRecord | ProbeRecord | OtherRecord;
