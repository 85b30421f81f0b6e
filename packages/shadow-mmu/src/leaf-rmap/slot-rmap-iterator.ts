import { type Cpu, offset } from "@kvm-age/machine";
import { RMAP_HEAD_BYTES, type Slot } from "@kvm-age/memslot";
import type { KvmRmapHead } from "@kvm-age/rmap";
import { type Gfn, kvmPagesPerHpage, type PgLevel } from "@kvm-age/spte";
import { gfnToRmap } from "./gfn-to-rmap.js";

/** Lists of one slot: those of levels `startLevel` … `endLevel` for gfns `startGfn` … `endGfn`, both inclusive. */
export interface SlotRmapRange {
  readonly slot: Slot;
  readonly startLevel: PgLevel;
  readonly endLevel: PgLevel;
  readonly startGfn: Gfn;
  readonly endGfn: Gfn;
}

/**
 * `for_each_slot_rmap_range`: the lists of a range, level by level, by position in the slot's arrays: the first one of each level even
 * if it is empty, the others only if not. Held: `mmu_lock` for write; between two steps it may be dropped.
 */
export class SlotRmapIterator {
  level: PgLevel;
  /** Advances by the level's page count from `startGfn`, however that is aligned. */
  gfn: Gfn;
  head: KvmRmapHead;
  valid = true;
  private endHead: KvmRmapHead;

  constructor(
    cpu: Cpu,
    private readonly range: SlotRmapRange,
  ) {
    this.level = range.startLevel;
    this.gfn = range.startGfn;
    this.head = gfnToRmap(cpu, range.slot, range.startGfn, this.level);
    this.endHead = gfnToRmap(cpu, range.slot, range.endGfn, this.level);
  }

  /** `slot_rmap_walk_next`. */
  next(cpu: Cpu): void {
    const { range } = this;
    while (this.head < this.endHead) {
      this.head = offset(this.head, RMAP_HEAD_BYTES) as KvmRmapHead;
      this.gfn = (this.gfn + kvmPagesPerHpage(this.level)) as Gfn;
      // Raw, with the lock bit: an ager may hold the list, and an empty one is 0 either way.
      if (cpu.readOnce(this.head) !== 0n) return;
    }
    if (this.level >= range.endLevel) {
      this.valid = false;
      return;
    }
    this.level = (this.level + 1) as PgLevel;
    this.gfn = range.startGfn;
    this.head = gfnToRmap(cpu, range.slot, range.startGfn, this.level);
    this.endHead = gfnToRmap(cpu, range.slot, range.endGfn, this.level);
  }
}
