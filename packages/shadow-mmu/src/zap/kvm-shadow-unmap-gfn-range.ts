import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  type KvmGfnRange,
  kvmMemslotsHaveRmaps,
  mmuInvalidateInProgress,
  slotRmapArray,
} from "@kvm-age/memslot";
import { type KvmRmapHead, kvmZapAllRmapSptes } from "@kvm-age/rmap";
import { type Gfn, KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_4K } from "@kvm-age/spte";
import { walkSlotRmapRange } from "../leaf-rmap/walk-slot-rmaps.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteClearTrackBits } from "../spte/mmu-spte-clear-track-bits.js";

/** `kvm_zap_rmap`: clears every leaf of one list and empties it; whether there was any. Held: `mmu_lock` for write. */
export function kvmZapRmap(mmu: ShadowMmu, cpu: Cpu, head: KvmRmapHead): boolean {
  return kvmZapAllRmapSptes(mmu.rmaps, cpu, head, (clearing, sptep) => {
    mmuSpteClearTrackBits(mmu, clearing, sptep);
  });
}

/**
 * Shadow part of `kvm_unmap_gfn_range`: zaps every leaf that maps a gfn of the range. Yields if the range may block, after
 * what was due has been flushed. Held: `mmu_lock` for write, `kvm->srcu`; an invalidation of the range is in progress, or
 * `slots_lock` is held: else a fault could map a page again that the host is about to take away.
 *
 * @param flush whether a flush is due already
 * @returns whether a flush is due, before the lock is dropped
 */
export function kvmShadowUnmapGfnRange(
  mmu: ShadowMmu,
  cpu: Cpu,
  range: KvmGfnRange,
  flush: boolean,
): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { memslots } = mmu;
  if (mmuInvalidateInProgress(memslots, cpu) === 0) cpu.lockdep.assertHeld(memslots.locks.slotsLock, "write");
  if (!kvmMemslotsHaveRmaps(memslots, cpu)) return flush;
  // The VM's first shadow root may be made while a slot is being deleted: then the INVALID copy, which is in the active set, has got the
  // lists, and the slot that is to be flushed has not. No shadow page maps it: there was none before, and now faults retry.
  if (slotRmapArray(cpu, range.slot, PG_LEVEL_4K) === NULL_ADDRESS) return flush;
  return walkSlotRmapRange(
    mmu,
    cpu,
    {
      slot: range.slot,
      startLevel: PG_LEVEL_4K,
      endLevel: KVM_MAX_HUGEPAGE_LEVEL,
      startGfn: range.start,
      endGfn: (range.end - 1) as Gfn,
    },
    { canYield: range.mayBlock, flushOnYield: true, flush },
    (walking, head) => kvmZapRmap(mmu, walking, head),
  );
}
