import type { LockEdge } from "./lock-graph.js";

/** A broken locking rule, reported at once with everything that is known: the message is the whole splat. */
export class LockdepSplatError extends Error {
  override readonly name: string = "LockdepSplatError";
}

/** Thrown when a lock is about to be taken in an order that, with orders seen before, can deadlock. */
export class CircularDependencyError extends LockdepSplatError {
  override readonly name = "CircularDependencyError";

  /**
   * @param edge the order that is about to happen
   * @param existing the orders seen before that lead from the wanted lock to the held one
   */
  constructor(
    message: string,
    readonly edge: LockEdge,
    readonly existing: readonly LockEdge[],
  ) {
    super(message);
  }
}

/** Thrown when a processor takes a lock of a class that it holds already, in whichever mode. */
export class RecursiveLockError extends LockdepSplatError {
  override readonly name = "RecursiveLockError";
}

/** Thrown when a processor that may not sleep calls something that may. */
export class SleepInAtomicError extends LockdepSplatError {
  override readonly name = "SleepInAtomicError";
}

/** Thrown when a grace period is waited for inside a read section of its own domain. */
export class GracePeriodInReaderError extends LockdepSplatError {
  override readonly name = "GracePeriodInReaderError";
}

/** Thrown when a lock is released, a read section left, or preemption enabled, that the processor does not have. */
export class ReleaseNotHeldError extends LockdepSplatError {
  override readonly name = "ReleaseNotHeldError";
}

/** Thrown when an operation, or an RCU callback, ends and still holds something. */
export class HeldAtExitError extends LockdepSplatError {
  override readonly name = "HeldAtExitError";
}

/** Thrown when an assertion about held locks does not hold. */
export class LockAssertionError extends LockdepSplatError {
  override readonly name = "LockAssertionError";
}
