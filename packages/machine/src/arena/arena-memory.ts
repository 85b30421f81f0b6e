/** A shared `WebAssembly.Memory`, by the one property that its users need. Crosses threads by structured clone. */
export interface ArenaMemory {
  readonly buffer: SharedArrayBuffer;
}
