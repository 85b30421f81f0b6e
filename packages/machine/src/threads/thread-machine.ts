import { FrameAllocator } from "../alloc/frame-allocator.js";
import { FrameTable } from "../alloc/frame-table.js";
import { createSlab, SLAB_BYTES, Slab, type SlabHandle } from "../alloc/slab.js";
import { Arena, createArenaMemory } from "../arena/arena.js";
import type { ArenaMemory } from "../arena/arena-memory.js";
import { ArenaLayoutError } from "../arena/errors.js";
import {
  cpuAttachedWord,
  FIRST_FRAME_WORD,
  FRAME_BYTES,
  FRAME_COUNT_WORD,
  FRONTIER_WORD,
  fixedFrames,
  MACHINE_SIGNATURE,
  MAX_CPUS_WORD,
  SIGNATURE_WORD,
} from "../arena/layout.js";
import type { Cpu } from "../cpu/cpu.js";
import { CpuLimitError } from "./errors.js";
import { ThreadCpu } from "./thread-cpu.js";

/** Processors a machine can have at most. */
export const MAX_CPUS = 4096;

/** What the user of a machine decides. */
export interface ThreadMachineInit {
  /** Size of the arena in bytes, [1 MiB, 4 GiB]; rounded up to 64 KiB. Committed only when touched. */
  readonly arenaBytes: number;
  /** Processor slots, [1, 4096]. @default 64 */
  readonly maxCpus?: number;
}

/** A machine as data that crosses threads (structured clone). */
export interface MachineHandle {
  readonly memory: ArenaMemory;
}

/** True where a thread may sleep on a futex: everywhere but on a browser's main thread. */
function mayThisThreadBlock(): boolean {
  return typeof (globalThis as { document?: unknown }).document === "undefined";
}

/** One arena with its allocators, and the threads that are attached to it as processors. */
export class ThreadMachine {
  readonly frames: FrameAllocator;
  readonly maxCpus: number;

  private constructor(readonly arena: Arena) {
    this.maxCpus = arena.u32[MAX_CPUS_WORD >>> 2]!;
    this.frames = new FrameAllocator(new FrameTable(this.maxCpus, arena.u32[FRAME_COUNT_WORD >>> 2]!));
  }

  /** Data from which another thread makes its own view with `ThreadMachine.from`. */
  get handle(): MachineHandle {
    return { memory: this.arena.memory };
  }

  /**
   * Reserves an arena and lays a machine out in it.
   *
   * @throws ArenaSizeError, ArenaReservationError, CpuLimitError.
   */
  static create(init: ThreadMachineInit): ThreadMachine {
    const maxCpus = init.maxCpus ?? 64;
    if (!(Number.isInteger(maxCpus) && maxCpus >= 1 && maxCpus <= MAX_CPUS)) {
      throw new CpuLimitError(maxCpus, MAX_CPUS);
    }
    const arena = new Arena(createArenaMemory(init.arenaBytes));
    const frameCount = arena.bytes / FRAME_BYTES;
    const tableFrames = Math.ceil(FrameTable.bytes(frameCount) / FRAME_BYTES);
    const firstFrame = fixedFrames(maxCpus) + tableFrames;
    arena.u32[MAX_CPUS_WORD >>> 2] = maxCpus;
    arena.u32[FRAME_COUNT_WORD >>> 2] = frameCount;
    arena.u32[FIRST_FRAME_WORD >>> 2] = firstFrame;
    arena.u32[FRONTIER_WORD >>> 2] = firstFrame;
    Atomics.store(arena.u32, SIGNATURE_WORD >>> 2, MACHINE_SIGNATURE);
    return new ThreadMachine(arena);
  }

  /**
   * This thread's view of a machine that another thread created.
   *
   * @throws ArenaLayoutError if the memory holds no machine.
   */
  static from(handle: MachineHandle): ThreadMachine {
    const arena = new Arena(handle.memory);
    const signature = Atomics.load(arena.u32, SIGNATURE_WORD >>> 2);
    if (signature !== MACHINE_SIGNATURE) throw new ArenaLayoutError(signature, MACHINE_SIGNATURE);
    return new ThreadMachine(arena);
  }

  /**
   * Makes this thread a processor with a free number. One thread may be several processors, as long as it
   * never waits on one for another.
   *
   * @throws CpuLimitError if all numbers are taken.
   */
  attach(): ThreadCpu {
    const { arena, maxCpus } = this;
    for (let id = 0; id < maxCpus; id++) {
      // The exchange claims the slot; a thread that loses it tries the next.
      if (Atomics.compareExchange(arena.u32, cpuAttachedWord(id) >>> 2, 0, 1) === 0) {
        return new ThreadCpu({ arena, id, maxCpus, mayBlock: mayThisThreadBlock() });
      }
    }
    throw new CpuLimitError(maxCpus + 1, maxCpus);
  }

  /**
   * Makes a slab of objects of `objectBytes` (a multiple of 8 in [8, 2016]), with a control block of its own.
   *
   * @throws ObjectSizeError or OutOfMemoryError.
   */
  createSlab(cpu: Cpu, name: string, objectBytes: number): Slab {
    return createSlab(this.frames, cpu, this.frames.allocateSpan(cpu, SLAB_BYTES), name, objectBytes);
  }

  /** This thread's view of a slab that was made elsewhere. */
  slab(handle: SlabHandle): Slab {
    return new Slab(this.frames, handle);
  }
}
