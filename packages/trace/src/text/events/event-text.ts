import type { TraceKernel } from "../../schema/kernel-layout.js";
import type { KvmEventFields, KvmEventName } from "../../schema/kvm-event-fields.js";
import type { PayloadScanner } from "../payload-scanner.js";

/** How one event stands in the text behind its name. */
export interface EventText<Fields> {
  /** Reads what any of the kernels, or trace-cmd, prints. Mismatches stay in the scanner; the caller finishes it. */
  readonly read: (scanner: PayloadScanner) => Fields;
  /** Writes what `kernel` prints. */
  readonly write: (fields: Fields, kernel: TraceKernel) => string;
}

/** The text of several events. */
export type EventTexts<Names extends KvmEventName> = {
  readonly [Name in Names]: EventText<KvmEventFields[Name]>;
};

/** `%llx`. */
export function hex(value: number | bigint): string {
  return value.toString(16);
}

/** Digits of `%016llx`, `%08x`, …. */
export function paddedHex(value: number | bigint, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/** `0` or `1`. */
export function bitText(value: boolean): string {
  return value ? "1" : "0";
}
