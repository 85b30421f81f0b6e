/** Thrown when an operation is called on a root or table in a state that forbids it. */
export class RootStateError extends Error {
  override readonly name = "RootStateError";

  constructor(
    readonly what: string,
    readonly root: number,
  ) {
    super(`${what} (root 0x${root.toString(16)})`);
  }
}

/** Thrown when a TDP MMU is set up with a value outside its range. */
export class TdpMmuConfigError extends RangeError {
  override readonly name = "TdpMmuConfigError";

  constructor(
    readonly field: string,
    readonly value: unknown,
    readonly allowed: string,
  ) {
    super(`${field}: ${String(value)} is not ${allowed}`);
  }
}
