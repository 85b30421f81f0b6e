/// <reference path="../wasm/webassembly.d.ts" />
import { type Atomics64, bindAtomics64 } from "../wasm/atomics.js";
import type { ArenaMemory } from "./arena-memory.js";
import { ArenaReservationError, ArenaSizeError } from "./errors.js";

const WASM_PAGE_BYTES = 65536;

/** Smallest and largest arena, in bytes. The largest is what a 32-bit offset reaches. */
export const MIN_ARENA_BYTES: number = 16 * WASM_PAGE_BYTES;
export const MAX_ARENA_BYTES: number = 65536 * WASM_PAGE_BYTES;

/**
 * One shared `WebAssembly.Memory` seen through typed arrays and native 64-bit instructions. The memory crosses
 * threads (structured clone); an `Arena` object is one thread's view of it and costs nothing to make again.
 */
export class Arena {
  readonly memory: ArenaMemory;
  readonly bytes: number;
  /** Plain 64-bit accesses. Whole-word on 64-bit hosts. */
  readonly u64: BigUint64Array;
  readonly u32: Uint32Array;
  /** The same words, signed: `Atomics.wait` and `notify` accept no other. */
  readonly i32: Int32Array;
  readonly atomics64: Atomics64;

  constructor(memory: ArenaMemory) {
    this.memory = memory;
    this.bytes = memory.buffer.byteLength;
    this.u64 = new BigUint64Array(memory.buffer);
    this.u32 = new Uint32Array(memory.buffer);
    this.i32 = new Int32Array(memory.buffer);
    this.atomics64 = bindAtomics64(memory);
  }
}

/**
 * Reserves a zero-filled shared memory of at least `bytes`, rounded up to 64 KiB. The host commits pages only
 * when they are touched.
 *
 * @throws ArenaSizeError if `bytes` is not in [1 MiB, 4 GiB].
 * @throws ArenaReservationError if the host refuses.
 */
export function createArenaMemory(bytes: number): ArenaMemory {
  if (!(bytes >= MIN_ARENA_BYTES && bytes <= MAX_ARENA_BYTES)) {
    throw new ArenaSizeError(bytes, MIN_ARENA_BYTES, MAX_ARENA_BYTES);
  }
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (error) {
    throw new ArenaReservationError(pages * WASM_PAGE_BYTES, error);
  }
}
