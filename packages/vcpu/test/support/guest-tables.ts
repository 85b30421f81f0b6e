import type { Address } from "@kvm-age/machine";
import type { GuestPagingMode, GuestPagingState } from "../../src/index.js";
import { LEAF_BITS, type Rig } from "./rig.js";

const PAGE = 4096;
const ADDRESS = 0xffffffffff000n;
const PAGE_SIZE = 0x80n;
const ROOT_LEVELS = { none: 4, pae: 3, "4-level": 4, "5-level": 5 } as const;

/** What a guest's own entries have that allow everything, Accessed and Dirty clear. */
export const GUEST_BITS = 0x7n;
export const GUEST_ACCESSED = 0x20n;
export const GUEST_DIRTY = 0x40n;

/** A guest's own page tables, in memory with bytes that EPT or NPT of a rig maps. Gfns of tables go up from `firstGfn`. */
export class GuestTables {
  readonly rootLevel: 3 | 4 | 5;
  readonly cr3: number;

  constructor(
    readonly rig: Rig,
    readonly mode: GuestPagingMode = "4-level",
    private nextGfn = 0x100,
  ) {
    this.rootLevel = ROOT_LEVELS[mode];
    this.cr3 = this.page();
  }

  /** A new zeroed page of guest memory with bytes; returns its gpa. */
  page(): number {
    const gfn = this.nextGfn++;
    const frame = this.rig.machine.frames.allocateFrame(this.rig.cpu);
    this.rig.map(gfn, frame / PAGE, 1, LEAF_BITS[this.rig.format]);
    return gfn * PAGE;
  }

  /** Where the word at a guest-physical address lies. */
  wordAt(gpa: number): Address {
    const leaf = this.rig.cpu.readOnce(this.rig.entry(Math.floor(gpa / PAGE), 1));
    return (Number(leaf & ADDRESS) + (gpa % PAGE)) as Address;
  }

  /** Guest-physical address of the entry of `level` on the path of `gva`; makes the tables above it. */
  entryGpa(gva: number, level: number): number {
    let table = this.cr3;
    for (let above: number = this.rootLevel; ; above--) {
      const index = Math.floor(gva / PAGE / 512 ** (above - 1)) % 512;
      const gpa = table + index * 8;
      if (above === level) return gpa;
      const word = this.wordAt(gpa);
      const bits = this.rootLevel === 3 && above === 3 ? 1n : GUEST_BITS;
      if (this.rig.cpu.readOnce(word) === 0n) this.rig.cpu.writeOnce(word, BigInt(this.page()) | bits);
      table = Number(this.rig.cpu.readOnce(word) & ADDRESS);
    }
  }

  entry(gva: number, level: number): bigint {
    return this.rig.cpu.readOnce(this.wordAt(this.entryGpa(gva, level)));
  }

  /** Maps the page at `gva` to guest frame `gfn`; returns where the leaf lies. */
  map(gva: number, gfn: number, level = 1, bits = GUEST_BITS): Address {
    const word = this.wordAt(this.entryGpa(gva, level));
    this.rig.cpu.writeOnce(word, (BigInt(gfn) << 12n) | bits | (level > 1 ? PAGE_SIZE : 0n));
    return word;
  }

  state(controls: Partial<GuestPagingState> = {}): GuestPagingState {
    const { mode, cr3 } = this;
    const off = { cr0Wp: true, eferNx: true, cr4Smep: false, cr4Smap: false, cr4Pcide: false };
    return { mode, cr3, ...off, ...controls };
  }
}
