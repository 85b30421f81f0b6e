import { type Address, type Cpu, offset, type ThreadMachine } from "@kvm-age/machine";
import type { Hva, HvaToPfnResult, ReleaseHow } from "@kvm-age/memslot";
import type { Pfn, PgLevel } from "@kvm-age/spte";
import type { ShadowMmuHost } from "../../../src/shadow-mmu.js";
import type { UserCmpxchgResult } from "../../../src/user-memory.js";

const PAGE = 4096;
/** Host address of guest address 0; aligned to 1 GiB. */
export const HOST_BASE = 0x7f0000000000 as Hva;
/** First pfn without bytes; aligned to 1 GiB. */
const PLAIN_PFN = 0x400000;

/**
 * An owner whose address space is a formula: the first `backed` pages are arena frames with bytes, all others are pages without, which
 * read as 0 and drop what is written.
 */
export class ByteHost implements ShadowMmuHost {
  level: PgLevel = 1;
  writable = true;
  /** Pages that can be neither read nor written now, as if swapped out for ever. */
  readonly missing = new Set<number>();
  readonly released: Record<ReleaseHow, number> = { unused: 0, clean: 0, dirty: 0 };
  /** Whether neighbours can be had without waiting. */
  prefetchable = true;
  /** Runs inside the lookup of a page, where the real one may sleep. */
  onLookup: (cpu: Cpu, hva: Hva) => void = () => {};
  private readonly pages: Address[] = [];

  constructor(cpu: Cpu, machine: ThreadMachine, backed: number) {
    for (let page = 0; page < backed; page++) this.pages.push(machine.frames.allocateFrame(cpu));
  }

  pfnOf(page: number): Pfn {
    const frame = this.pages[page];
    return (frame === undefined ? PLAIN_PFN + page : frame / PAGE) as Pfn;
  }

  /** Address of the word behind a host address; null if there is none. */
  word(hva: number): Address | null {
    const frame = this.pages[pageOf(hva)];
    return frame === undefined ? null : offset(frame, hva % PAGE);
  }

  hvaToPfn(cpu: Cpu, hva: Hva): HvaToPfnResult {
    this.onLookup(cpu, hva);
    if (this.missing.has(pageOf(hva))) return { error: "fault" };
    return { error: null, pfn: this.pfnOf(pageOf(hva)), mapWritable: this.writable };
  }

  hostPfnMappingLevel(_cpu: Cpu, hva: Hva): PgLevel {
    return pageOf(hva) < this.pages.length ? 1 : this.level;
  }

  releasePage(_cpu: Cpu, _pfn: Pfn, how: ReleaseHow): void {
    this.released[how]++;
  }

  getUserPageFastOnly(_cpu: Cpu, hva: Hva): Pfn | null {
    return this.prefetchable && this.writable ? this.pfnOf(pageOf(hva)) : null;
  }

  loadUser(cpu: Cpu, hva: Hva, size: 4 | 8): bigint | null {
    if (this.missing.has(pageOf(hva))) return null;
    const word = this.word(hva - (hva % 8));
    const value = word === null ? 0n : cpu.readOnce(word);
    return size === 8 ? value : BigInt.asUintN(32, value >> BigInt((hva % 8) * 8));
  }

  storeUser(cpu: Cpu, hva: Hva, size: 4 | 8, value: bigint): boolean {
    if (this.missing.has(pageOf(hva)) || !this.writable) return false;
    const word = this.word(hva - (hva % 8));
    if (word === null) return true;
    if (size === 8) cpu.writeOnce(word, value);
    else {
      const shift = BigInt((hva % 8) * 8);
      const kept = cpu.readOnce(word) & ~(0xffffffffn << shift);
      cpu.writeOnce(word, BigInt.asUintN(64, kept | (value << shift)));
    }
    return true;
  }

  cmpxchgUser(cpu: Cpu, hva: Hva, _size: 4 | 8, expected: bigint, replacement: bigint): UserCmpxchgResult {
    if (this.missing.has(pageOf(hva)) || !this.writable) return "fault";
    const word = this.word(hva);
    if (word === null) return "done";
    return cpu.cmpxchg(word, expected, replacement, "full") === expected ? "done" : "changed";
  }
}

function pageOf(hva: number): number {
  return Math.floor((hva - HOST_BASE) / PAGE);
}
