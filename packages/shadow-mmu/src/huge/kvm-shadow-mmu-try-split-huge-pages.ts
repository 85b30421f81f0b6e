import { type Address, type Cpu, OutOfMemoryError } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, type Slot } from "@kvm-age/memslot";
import { traceKvmMmuSplitHugePage } from "@kvm-age/page-fault";
import { type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import {
  type Gfn,
  isLargePte,
  KVM_MAX_HUGEPAGE_LEVEL,
  type PgLevel,
  roleGuestMode,
  roleInvalid,
  roleLevel,
  type Spte,
} from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { walkSlotRmapRange } from "../leaf-rmap/walk-slot-rmaps.js";
import { mmuLockNeedsBreak } from "../lock/cond-resched-rwlock-write.js";
import { type KvmMmuPage, spRole, sptepIndex, unsyncWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MIN_FREE_MMU_PAGES, kvmMmuAvailablePages } from "../zap/make-mmu-pages-available.js";
import { shadowMmuSplitHugePage } from "./shadow-mmu-split-huge-page.js";

const EAGAIN = 11;
const ENOMEM = 12;
const ENOSPC = 28;

/** Drops `mmu_lock`, gives the processor away, fills the caches and takes the lock again; a negative errno. */
function topUpUnlocked(mmu: ShadowMmu, cpu: Cpu): number {
  cpu.writeUnlock(mmu.mmuLock);
  cpu.condResched();
  let result = -EAGAIN;
  try {
    mmu.splitCaches.topUp(cpu);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    result = -ENOMEM;
  }
  cpu.writeLock(mmu.mmuLock);
  return result;
}

/**
 * `shadow_mmu_try_split_huge_page`: 0 if the page was split; -EAGAIN if `mmu_lock` was dropped instead, so that the list must be looked
 * at again; -ENOSPC without quota for a table; -ENOMEM without memory.
 *
 * @param mayGiveWay whether to let a waiter in first
 */
function shadowMmuTrySplitHugePage(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  hugeSptep: Address,
  mayGiveWay: boolean,
): number {
  const sp = sptepToSp(mmu, cpu, hugeSptep);
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(hugeSptep));
  const level = roleLevel(spRole(cpu, sp));
  const spte = cpu.readOnce(hugeSptep) as Spte;
  let result = 0;
  if (kvmMmuAvailablePages(mmu, cpu) <= KVM_MIN_FREE_MMU_PAGES) result = -ENOSPC;
  else if ((mayGiveWay && mmuLockNeedsBreak(mmu, cpu)) || mmu.splitCaches.needTopUp(cpu)) {
    result = topUpUnlocked(mmu, cpu);
  } else shadowMmuSplitHugePage(mmu, cpu, slot, hugeSptep);
  if (cpu.tracing) traceKvmMmuSplitHugePage(cpu, gfn, spte, level, result);
  return result;
}

/**
 * Whether the page in an rmap is to be split; not below a table that was zapped.
 *
 * @throws ShadowPageCorruptionError for what no nested rmap of a huge level holds: a small page, a table of an unsync page, or of no
 * nested guest.
 */
function isSplittable(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, hugeSptep: Address): boolean {
  const role = spRole(cpu, sp);
  const spte = cpu.readOnce(hugeSptep) as Spte;
  const unsync = cpu.readOnce32(unsyncWord(sp));
  if (!roleGuestMode(role) || !isLargePte(spte) || unsync !== 0) {
    throw new ShadowPageCorruptionError("unexpected entry in the rmap of a huge page", {
      role,
      spte,
      unsync,
    });
  }
  return !roleInvalid(mmu.format.rules, role);
}

/** The first entry of a list that is to be split, 0 if there is none. */
function firstSplittable(mmu: ShadowMmu, cpu: Cpu, head: KvmRmapHead): Address {
  const iterator = new RmapIterator();
  let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
  while (sptep !== 0 && !isSplittable(mmu, cpu, sptepToSp(mmu, cpu, sptep), sptep)) {
    sptep = iterator.getNext(cpu);
  }
  return sptep;
}

/**
 * `shadow_mmu_try_split_huge_pages`: splits every page of one list. Each split takes its entry off the list, so the list is looked at
 * from the start again. Gives way once before a split at most: the kernel does so as long as anybody waits, and where somebody
 * always does would never split.
 */
function shadowMmuTrySplitHugePages(mmu: ShadowMmu, cpu: Cpu, slot: Slot, head: KvmRmapHead): void {
  let mayGiveWay = true;
  for (;;) {
    const sptep = firstSplittable(mmu, cpu, head);
    if (sptep === 0) return;
    const result = shadowMmuTrySplitHugePage(mmu, cpu, slot, sptep, mayGiveWay);
    if (result !== 0 && result !== -EAGAIN) return;
    mayGiveWay = result === 0;
  }
}

/**
 * `kvm_shadow_mmu_try_split_huge_pages`: splits the huge pages that nested tables map in [start, end) down to `target`, from 1 GiB
 * downwards, ahead of the faults that dirty logging would otherwise cause. Best effort: goes on to the next list where quota or
 * memory is out. Only with the TDP MMU: without it, faults of the guest itself do that work. Held: `mmu_lock` for write, which is
 * dropped and taken again; `slots_lock`, for the split caches.
 */
export function kvmShadowMmuTrySplitHugePages(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  start: Gfn,
  end: Gfn,
  target: PgLevel,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  if (!mmu.memslots.options.tdpMmuEnabled || !kvmMemslotsHaveRmaps(mmu.memslots, cpu)) return;
  const endGfn = (end - 1) as Gfn;
  const walk = { canYield: true, flushOnYield: true, flush: false };
  for (let level: number = KVM_MAX_HUGEPAGE_LEVEL; level > target; level--) {
    const only = level as PgLevel;
    const range = { slot, startLevel: only, endLevel: only, startGfn: start, endGfn };
    walkSlotRmapRange(mmu, cpu, range, walk, (walking, head) => {
      shadowMmuTrySplitHugePages(mmu, walking, slot, head);
      return false;
    });
  }
}
