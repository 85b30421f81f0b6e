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
