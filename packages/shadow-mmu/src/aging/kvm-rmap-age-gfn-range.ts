import { type Cpu, offset } from "@kvm-age/machine";
import { type KvmGfnRange, RMAP_HEAD_BYTES } from "@kvm-age/memslot";
import {
  type KvmRmapHead,
  kvmRmapGet,
  kvmRmapLockReadonly,
  kvmRmapUnlockReadonly,
  RmapIterator,
} from "@kvm-age/rmap";
import {
  isAccessedSpte,
  isShadowPresentPte,
  KVM_MAX_HUGEPAGE_LEVEL,
  kvmPagesPerHpage,
  PG_LEVEL_4K,
  type PgLevel,
} from "@kvm-age/spte";
import { gfnToRmap } from "../leaf-rmap/gfn-to-rmap.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteGetLockless } from "../spte/mmu-spte-get-lockless.js";
import { mmuSpteAgeLockless } from "./mmu-spte-age.js";

/**
 * Ages, or only tests, the entries of one list that is locked for reading, or was empty. A test stops at the first young one.
 *
 * Entries change while the list is locked: each is read once, and judged and written on that value. One that was zapped and waits for
 * the lock to come off the list is not present, and is skipped.
 */
function ageList(
  mmu: ShadowMmu,
  cpu: Cpu,
  iterator: RmapIterator,
  start: bigint,
  testOnly: boolean,
): boolean {
  const { format } = mmu;
  let young = false;
  for (let sptep = iterator.getFirst(cpu, start); sptep !== 0; sptep = iterator.getNext(cpu)) {
    const spte = mmuSpteGetLockless(cpu, sptep);
    if (!isShadowPresentPte(spte) || !isAccessedSpte(format, spte)) continue;
    if (testOnly) return true;
    young = true;
    mmuSpteAgeLockless(mmu, cpu, sptep, spte);
  }
  return young;
}

/**
 * One list, under its bit. The walk starts at the value that the lock returned, so of a list that was empty nothing is visited. 6.15 reads
 * the head again: if a writer has filled the list meanwhile, it walks it without the lock (hazard D3, closed in 7.3).
 */
function lockAndAgeList(
  mmu: ShadowMmu,
  cpu: Cpu,
  iterator: RmapIterator,
  head: KvmRmapHead,
  testOnly: boolean,
): boolean {
  const locked = kvmRmapLockReadonly(mmu.rmaps, cpu, head);
  const start = mmu.format.rules.rmapWalkStart === "head" ? kvmRmapGet(cpu, head) : locked;
  const young = ageList(mmu, cpu, iterator, start, testOnly);
  kvmRmapUnlockReadonly(mmu.rmaps, cpu, head, locked);
  return young;
}

/**
 * `kvm_rmap_age_gfn_range`: clears, or only tests, the accessed state of every leaf in the lists of a range: levels 4K, 2M, 1G, each
 * stepped by its page count from `range.start`, however that is aligned, so that of an unaligned range the last huge page may be missed.
 * Takes no `mmu_lock`, flushes nothing, does not yield or sleep; waits only for list bits. Held: `kvm->srcu`, which keeps the slot and
 * its lists. The slot has rmaps (`kvmMayHaveShadowMmuSptes`).
 *
 * @param testOnly changes nothing and stops at the first young page
 * @returns whether any leaf was accessed, whether or not the write that followed took effect
 * @throws MissingMetadataError if the slot has no rmaps.
 */
export function kvmRmapAgeGfnRange(mmu: ShadowMmu, cpu: Cpu, range: KvmGfnRange, testOnly: boolean): boolean {
  const { slot, start, end } = range;
  const iterator = new RmapIterator();
  let young = false;
  for (let level: number = PG_LEVEL_4K; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    // The first list of the range, then one after the other: a step of a page's size is a step of one list.
    let head = gfnToRmap(cpu, slot, start, level as PgLevel);
    const pages = kvmPagesPerHpage(level as PgLevel);
    for (let gfn: number = start; gfn < end; gfn += pages) {
      if (lockAndAgeList(mmu, cpu, iterator, head, testOnly)) {
        if (testOnly) return true;
        young = true;
      }
      head = offset(head, RMAP_HEAD_BYTES) as KvmRmapHead;
    }
  }
  return young;
}
