/** Thrown when an operation gives the processor of a `RecordingCpu` away more often than any that ends would. */
export class EndlessYieldError extends Error {
  override readonly name = "EndlessYieldError";

  constructor(yields: number, limit: number) {
    super(`gave the processor away ${yields} times, allowed: ${limit}`);
  }
}

/** Thrown by `InterferingCpu.assertAllHappened` when the operation never came to a step that was to be interfered with. */
export class InterferenceMissingError extends Error {
  override readonly name = "InterferenceMissingError";

  constructor(happened: number, wanted: number) {
    super(`${happened} of ${wanted} interferences happened`);
  }
}

/** Thrown when an operation, replayed with what its steps returned, takes another step than before, or ends sooner. */
export class ReplayMismatchError extends Error {
  override readonly name = "ReplayMismatchError";

  /** @param index of the step, from 0 */
  constructor(index: number, before: string, now: string) {
    super(`access ${index} was ${before}, is ${now} on replay`);
  }
}
