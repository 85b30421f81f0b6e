/** A run of accesses in the order of the trace, in flat memory. The reader keeps no reference to it. */
export interface AccessBatch {
  /** Virtual page (address / 4096) of each access; exact, as it is below 2^52. */
  readonly pages: Float64Array;
  /** `LOAD`, `STORE` or `MODIFY` for each access. */
  readonly kinds: Uint8Array;
  /** Instruction lines (`I`) met since the batch before, which are not accesses to data. */
  readonly instructionLines: number;
  /** Valgrind's own lines (`==pid==`) met since the batch before. */
  readonly bannerLines: number;
}
