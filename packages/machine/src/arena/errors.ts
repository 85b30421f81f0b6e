/** Thrown when an arena is asked for with a size that WebAssembly memory cannot have. */
export class ArenaSizeError extends RangeError {
  override readonly name = "ArenaSizeError";

  constructor(
    readonly bytes: number,
    readonly minimum: number,
    readonly maximum: number,
  ) {
    super(`arena size ${bytes} bytes is outside [${minimum}, ${maximum}]`);
  }
}

/** Thrown when the operating system does not grant the arena's address space. */
export class ArenaReservationError extends Error {
  override readonly name = "ArenaReservationError";

  constructor(
    readonly bytes: number,
    cause: unknown,
  ) {
    super(`cannot reserve ${bytes} bytes of shared memory for the arena`, { cause });
  }
}

/** Thrown when memory handed to a machine was not laid out by `createMachine` of this version. */
export class ArenaLayoutError extends Error {
  override readonly name = "ArenaLayoutError";

  constructor(
    readonly found: number,
    readonly expected: number,
  ) {
    super(
      `memory does not hold a machine of this version: signature 0x${found.toString(16)}, expected 0x${expected.toString(16)}`,
    );
  }
}
