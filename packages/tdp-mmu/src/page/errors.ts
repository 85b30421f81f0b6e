/** Thrown when an entry changes in a way that no correct caller can cause, such as a new pfn without a zap. */
export class SpteCorruptionError extends Error {
  override readonly name = "SpteCorruptionError";

  constructor(
    readonly what: string,
    readonly gfn: number,
    readonly level: number,
    readonly oldSpte: bigint,
    readonly newSpte: bigint,
  ) {
    super(
      `${what}: gfn 0x${gfn.toString(16)} level ${level} 0x${oldSpte.toString(16)} -> 0x${newSpte.toString(16)}`,
    );
  }
}

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
