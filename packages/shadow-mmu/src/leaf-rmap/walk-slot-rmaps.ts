import type { Cpu } from "@kvm-age/machine";
import { type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import type { KvmRmapHead } from "@kvm-age/rmap";
import type { Gfn, PgLevel } from "@kvm-age/spte";
import { mmuLockNeedsBreak } from "../lock/cond-resched-rwlock-write.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { SlotRmapIterator, type SlotRmapRange } from "./slot-rmap-iterator.js";

/** What a walk does with one list; whether a flush is due because of it. */
export type SlotRmapHandler = (cpu: Cpu, head: KvmRmapHead) => boolean;

/** How a walk behaves. */
export interface SlotRmapWalk {
  /** Whether it gives `mmu_lock` and the processor to whoever waits. */
  readonly canYield: boolean;
  /** Whether a flush that is due is done before that. */
  readonly flushOnYield: boolean;
  /** A flush that is due already. */
  readonly flush: boolean;
}

/**
 * Gives way. What must be flushed is flushed first, over the whole range: the kernel flushes up to the current gfn, which starts anew at
 * each level, and so forgets what the level before left due.
 */
function giveWay(mmu: ShadowMmu, cpu: Cpu, range: SlotRmapRange, flush: boolean): void {
  if (flush) {
    const pages = range.endGfn - range.startGfn + 1;
    cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn: range.startGfn, pages });
  }
  cpu.writeUnlock(mmu.mmuLock);
  cpu.condResched();
  cpu.writeLock(mmu.mmuLock);
}

/**
 * `__walk_slot_rmaps`: calls `handle` for the lists of a range, and ORs its answers into `walk.flush`. Held: `mmu_lock` for write, which
 * may be dropped and taken again between two lists. Each turn handles one list, so a walk ends however often it gives way.
 *
 * @returns whether a flush is due
 */
export function walkSlotRmapRange(
  mmu: ShadowMmu,
  cpu: Cpu,
  range: SlotRmapRange,
  walk: SlotRmapWalk,
  handle: SlotRmapHandler,
): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  let { flush } = walk;
  for (const iterator = new SlotRmapIterator(cpu, range); iterator.valid; iterator.next(cpu)) {
    flush = handle(cpu, iterator.head) || flush;
    if (!walk.canYield || !mmuLockNeedsBreak(mmu, cpu)) continue;
    giveWay(mmu, cpu, range, flush && walk.flushOnYield);
    if (walk.flushOnYield) flush = false;
  }
  return flush;
}

/**
 * `walk_slot_rmaps`: the same for the whole slot; may yield. Held: `mmu_lock` for write, and `slots_lock` or `kvm->srcu`, which keep the
 * slot while the lock is dropped.
 */
export function walkSlotRmaps(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  startLevel: PgLevel,
  endLevel: PgLevel,
  flushOnYield: boolean,
  handle: SlotRmapHandler,
): boolean {
  const startGfn = slotBaseGfn(cpu, slot);
  const endGfn = (startGfn + slotNpages(cpu, slot) - 1) as Gfn;
  const range = { slot, startLevel, endLevel, startGfn, endGfn };
  return walkSlotRmapRange(mmu, cpu, range, { canYield: true, flushOnYield, flush: false }, handle);
}
