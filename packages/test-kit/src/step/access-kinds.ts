import type { StepKind } from "./step.js";

/** Steps that may change a word. A compare-exchange is among them whether it succeeds or not. */
const WRITES: ReadonlySet<StepKind> = new Set<StepKind>([
  "writeOnce",
  "storeRelease",
  "cmpxchg",
  "xchg",
  "fetchAnd",
  "fetchOr",
  "fetchAdd",
  "memset64",
  "writeOnce32",
  "storeRelease32",
  "cmpxchg32",
  "xchg32",
  "fetchAnd32",
  "fetchOr32",
  "fetchAdd32",
]);

const READS: ReadonlySet<StepKind> = new Set<StepKind>([
  "readOnce",
  "loadAcquire",
  "readOnce32",
  "loadAcquire32",
]);

/** Whether a step may change the word at its address; a failed compare-exchange counts. */
export function isWrite(kind: StepKind): boolean {
  return WRITES.has(kind);
}

/** Whether a step reads or writes memory; locks, fences, waiting and the rest do not. */
export function isAccess(kind: StepKind): boolean {
  return READS.has(kind) || WRITES.has(kind);
}
