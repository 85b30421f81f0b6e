import { type Cpu, NULL_ADDRESS, OutOfMemoryError } from "@kvm-age/machine";
import { type Slot, slotAsId } from "@kvm-age/memslot";
import { traceKvmMmuSplitHugePage } from "@kvm-age/page-fault";
import {
  type Gfn,
  isLargePte,
  isShadowPresentPte,
  type PgLevel,
  SHADOW_NONPRESENT_VALUE,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import { type KvmMmuPage, nxHugePageDisallowedWord, sptWord } from "../page/kvm-mmu-page.js";
import { tdpMmuInitChildSp } from "../page/tdp-mmu-sp.js";
import { kvmTdpMmuPutRoot, tdpMmuNextRoot } from "../root/root-reference.js";
import { KVM_VALID_ROOTS } from "../root/root-types.js";
import { type TdpMmu, tdpMmuFreeSp } from "../tdp-mmu.js";
import { tdpMmuSplitHugePage } from "./tdp-mmu-split-huge-page.js";

const ENOMEM = 12;
const NO_SP = NULL_ADDRESS as KvmMmuPage;

/** A descriptor and a table for a split, straight from the allocators, or 0 if memory is out. */
function tdpMmuAllocSpForSplit(mmu: TdpMmu, cpu: Cpu): KvmMmuPage {
  let sp = NO_SP;
  try {
    sp = mmu.headers.allocate(cpu) as KvmMmuPage;
    cpu.writeOnce32(sptWord(sp), mmu.frames.allocateFrame(cpu, SHADOW_NONPRESENT_VALUE));
    return sp;
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    if (sp !== NO_SP) mmu.headers.free(cpu, sp);
    return NO_SP;
  }
}

/** Leaves RCU and `mmu_lock`, allocates, and takes both again. The iterator must restart afterwards. */
function allocateUnlocked(mmu: TdpMmu, cpu: Cpu, shared: boolean): KvmMmuPage {
  cpu.rcuReadUnlock();
  if (shared) cpu.readUnlock(mmu.mmuLock);
  else cpu.writeUnlock(mmu.mmuLock);
  const sp = tdpMmuAllocSpForSplit(mmu, cpu);
  if (shared) cpu.readLock(mmu.mmuLock);
  else cpu.writeLock(mmu.mmuLock);
  cpu.rcuReadLock();
  return sp;
}

/** `tdp_mmu_split_huge_pages_root`: splits every huge leaf of a range above `target`. False if memory ran out. */
function splitHugePagesRoot(
  mmu: TdpMmu,
  cpu: Cpu,
  root: KvmMmuPage,
  start: Gfn,
  end: Gfn,
  target: PgLevel,
  shared: boolean,
): boolean {
  let spare = NO_SP;
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  iter.start(cpu, root, (target + 1) as PgLevel, start);
  while (iter.valid && iter.gfn < end) {
    const huge = isShadowPresentPte(iter.oldSpte) && isLargePte(iter.oldSpte);
    if (tdpMmuIterCondResched(mmu, cpu, iter, false, shared) || !huge) {
      iter.next(cpu);
      continue;
    }
    if (spare === NO_SP) {
      const { gfn, oldSpte, level } = iter;
      spare = allocateUnlocked(mmu, cpu, shared);
      if (spare === NO_SP) {
        if (cpu.tracing) traceKvmMmuSplitHugePage(cpu, gfn, oldSpte, level, -ENOMEM);
        cpu.rcuReadUnlock();
        return false;
      }
      iter.yielded = true;
      iter.next(cpu);
      continue;
    }
    tdpMmuInitChildSp(mmu, cpu, spare, iter.sptep, iter.gfn);
    cpu.writeOnce32(nxHugePageDisallowedWord(spare), 0);
    // A lost exchange left the entry's new value in the snapshot: look at the same entry again.
    if (!tdpMmuSplitHugePage(mmu, cpu, iter, spare, shared)) continue;
    spare = NO_SP;
    iter.next(cpu);
  }
  cpu.rcuReadUnlock();
  if (spare !== NO_SP) tdpMmuFreeSp(mmu, cpu, spare);
  return true;
}

/**
 * `kvm_tdp_mmu_try_split_huge_pages`: splits the huge leaves that map [start, end) down to `target`, ahead of the faults that
 * dirty logging would otherwise cause. Best effort: stops when memory is out. `mmu_lock` is held for read if `shared`,
 * else for write; both may be dropped and taken again. Pre-order makes 1G leaves 2M first, then 4K.
 */
export function kvmTdpMmuTrySplitHugePages(
  mmu: TdpMmu,
  cpu: Cpu,
  slot: Slot,
  start: Gfn,
  end: Gfn,
  target: PgLevel,
  shared: boolean,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, shared ? "read" : "write");
  const asId = slotAsId(cpu, slot);
  let root = tdpMmuNextRoot(mmu, cpu, NO_SP, asId, KVM_VALID_ROOTS);
  while (root !== NO_SP) {
    if (!splitHugePagesRoot(mmu, cpu, root, start, end, target, shared)) {
      kvmTdpMmuPutRoot(mmu, cpu, root);
      return;
    }
    root = tdpMmuNextRoot(mmu, cpu, root, asId, KVM_VALID_ROOTS);
  }
}
