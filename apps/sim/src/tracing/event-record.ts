import type { TraceValue } from "@kvm-age/machine";

/** Value of a field: `null` where the kernel prints nothing. */
export type FieldValue = TraceValue | null;

/** One recorded event. */
export interface EventRecord {
  /** Nanoseconds since the recording began, and the order of equal ones: see `RecordingClock`. */
  readonly ns: number;
  readonly sequence: number;
  readonly preemptDepth: number;
  readonly irqsOff: boolean;
  readonly name: string;
  readonly fields: Readonly<Record<string, FieldValue>>;
}

// Layout of a record, little-endian: u32 bytes, u8 kind, u8 flags, u16 shape, i32 sequence, f64 ns, then the values, each a tag and what it says.
// A shape is the name of an event and of its fields; it precedes the first event that has it.

export const RECORD_HEADER_BYTES = 20;
export const RECORD_OFFSETS = { bytes: 0, kind: 4, flags: 5, shape: 6, sequence: 8, ns: 12 } as const;
export const RECORD_KINDS = { event: 0, shape: 1 } as const;
/** Flags: the preempt depth, and this. */
export const IRQS_OFF_FLAG = 0x80;
export const MAX_PREEMPT_DEPTH = 15;

/** Tags: a value with a fixed meaning, or one that bytes follow. */
export const TAGS = { null: 0, false: 1, true: 2, number: 3, bigint: 4, string: 5 } as const;
/** Bytes of a value other than a string: tag and 64 bits. */
export const MAX_SCALAR_BYTES = 9;

/** What a shape record holds as JSON. */
export interface EventShape {
  readonly name: string;
  readonly fields: readonly string[];
}
