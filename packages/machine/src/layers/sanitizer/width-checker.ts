import type { ArenaMemory } from "../../arena/arena-memory.js";
import type { Address } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import { type AccessKind, AccessObservingCpu, type WordBytes } from "../access-observing-cpu.js";
import type { CpuLayer } from "../cpu-layer.js";
import { WordWidthError } from "./errors.js";

const UNKNOWN = 0;

/**
 * The width of every word in use: one shared byte per four bytes of the arena, 0 or 4 or 8. Crosses threads by
 * structured clone.
 */
export type WordWidths = SharedArrayBuffer;

/** Room for the widths of the words of `memory`. */
export function createWordWidths(memory: ArenaMemory): WordWidths {
  return new SharedArrayBuffer(memory.buffer.byteLength / 4);
}

/**
 * A `Cpu` that holds every word to one width: its first access fixes it. A `memset64`, with which the allocators begin the
 * life of memory, forgets the widths of its range.
 */
class WidthCheckingCpu extends AccessObservingCpu {
  private readonly widths: Uint8Array;

  constructor(inner: Cpu, widths: WordWidths) {
    super(inner);
    this.widths = new Uint8Array(widths);
  }

  protected override beforeAccess(kind: AccessKind, address: Address, word: WordBytes, count: number): void {
    const first = Math.floor(address / 4);
    const last = first + (word * count) / 4;
    if (kind === "memset64") {
      this.widths.fill(UNKNOWN, first, last);
      return;
    }
    for (let index = first; index < last; index++) {
      // A lost exchange means that somebody fixed the width first: to be compared like any known one.
      const known = Atomics.compareExchange(this.widths, index, UNKNOWN, word);
      if (known !== UNKNOWN && known !== word) {
        throw new WordWidthError({ use: kind, address, bytes: word }, known as WordBytes);
      }
    }
  }
}

/** The width checker; processors of one machine share `widths`. */
export function withWidthCheck(widths: WordWidths): CpuLayer {
  return (cpu) => new WidthCheckingCpu(cpu, widths);
}
