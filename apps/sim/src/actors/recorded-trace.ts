/**
 * A recorded trace in shared memory: one u32 for each access, page index in the upper 30 bits, kind in the lower 2 (0 load,
 * 1 store, 2 modify), in chunks. 4 bytes a line, so that even a long trace costs less than its guest.
 */
export interface RecordedTrace {
  readonly chunks: readonly SharedArrayBuffer[];
  readonly lines: number;
}

/** Accesses of a full chunk. */
export const CHUNK_LINES: number = 1 << 18;

/** Packs an access. */
export function packAccess(page: number, kind: number): number {
  return ((page << 2) | kind) >>> 0;
}

/** Page index of a packed access. */
export function pageOfAccess(packed: number): number {
  return packed >>> 2;
}

/** Whether a packed access writes. */
export function isWriteAccess(packed: number): boolean {
  return (packed & 3) !== 0;
}
