import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type KvmGfnRange, slotAsId } from "@kvm-age/memslot";
import {
  type Gfn,
  isAccessedSpte,
  isLastSpte,
  isShadowPresentPte,
  PG_LEVEL_4K,
  roleAdDisabled,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import { type KvmMmuPage, spRole } from "../page/kvm-mmu-page.js";
import { nextMatchingRoot } from "../root/root-list.js";
import { KVM_ALL_ROOTS, KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { ageRootNatively } from "./age-root-natively.js";
import { ageSpteLockless, ageSpteUnderMmuLock } from "./age-spte.js";

const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/**
 * Ages every leaf of one root that maps a gfn in [start, end), entry by entry. True as soon as a snapshot was accessed,
 * whether or not the write that followed took effect.
 */
export function ageRootByIterator(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, start: Gfn, end: Gfn): boolean {
  const { format } = mmu;
  const lockless = mmu.options.aging === "lockless";
  const iter = new TdpIter(format);
  let young = false;
  for (iter.start(cpu, root, PG_LEVEL_4K, start); iter.valid && iter.gfn < end; iter.next(cpu)) {
    const { oldSpte } = iter;
    if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, iter.level)) continue;
    if (!isAccessedSpte(format, oldSpte)) continue;
    young = true;
    if (lockless) ageSpteLockless(mmu, cpu, iter);
    else ageSpteUnderMmuLock(mmu, cpu, iter);
  }
  return young;
}

/** The roots that aging looks at. One that waits to be zapped may still map the page, but nobody enters the guest with it again. */
function agedRoots(mmu: TdpMmu): number {
  return mmu.format.rules.tdpAgedRoots === "all" ? KVM_ALL_ROOTS : KVM_VALID_ROOTS;
}

/** Whether a root's leaves can be aged by the native loop with the same effect. */
function canAgeNatively(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): boolean {
  const { aging, leafScan } = mmu.options;
  return leafScan === "native" && aging === "lockless" && !cpu.tracing && !roleAdDisabled(spRole(cpu, root));
}

/** The locked form is called under `mmu_lock`; the lockless one without, in any mode, since it is there to spare others the wait. */
function assertAgingLocks(mmu: TdpMmu, cpu: Cpu): void {
  if (mmu.options.aging === "mmu-lock-write") cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  else cpu.lockdep.assertNotHeld(mmu.mmuLock);
}

/**
 * `kvm_tdp_mmu_age_gfn_range`: clears the accessed state of every leaf that maps the range in a root of the slot's address
 * space, a valid one since 6.14; true if any was accessed. Huge leaves count, and are aged, as a whole.
 *
 * Lockless form: one RCU section around all roots keeps roots and tables from being freed; `kvm->srcu`, held by the
 * caller, keeps the slot. No `mmu_lock`, no flush, no yield, no sleep. An entry may change between the look and the write;
 * each write says why that is fine. Locked form: the caller holds `mmu_lock` for write.
 */
export function kvmTdpMmuAgeGfnRange(mmu: TdpMmu, cpu: Cpu, range: KvmGfnRange): boolean {
  assertAgingLocks(mmu, cpu);
  const asId = slotAsId(cpu, range.slot);
  const types = agedRoots(mmu);
  let young = false;
  cpu.rcuReadLock();
  let root = nextMatchingRoot(mmu, cpu, NO_ROOT, asId, types);
  while (root !== NO_ROOT) {
    const rootYoung = canAgeNatively(mmu, cpu, root)
      ? ageRootNatively(mmu, cpu, root, range.start, range.end)
      : ageRootByIterator(mmu, cpu, root, range.start, range.end);
    young = rootYoung || young;
    root = nextMatchingRoot(mmu, cpu, root, asId, types);
  }
  cpu.rcuReadUnlock();
  return young;
}

/** True if a leaf of the root that maps a gfn in [start, end) is accessed. */
function rootIsYoung(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, start: Gfn, end: Gfn): boolean {
  const iter = new TdpIter(mmu.format);
  for (iter.start(cpu, root, PG_LEVEL_4K, start); iter.valid && iter.gfn < end; iter.next(cpu)) {
    const { oldSpte } = iter;
    if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, iter.level)) continue;
    if (isAccessedSpte(mmu.format, oldSpte)) return true;
  }
  return false;
}

/**
 * `kvm_tdp_mmu_test_age_gfn`: true if any leaf that maps the range in such a root is accessed. Changes nothing, and stops at
 * the first.
 */
export function kvmTdpMmuTestAgeGfn(mmu: TdpMmu, cpu: Cpu, range: KvmGfnRange): boolean {
  assertAgingLocks(mmu, cpu);
  const asId = slotAsId(cpu, range.slot);
  const types = agedRoots(mmu);
  let young = false;
  cpu.rcuReadLock();
  let root = nextMatchingRoot(mmu, cpu, NO_ROOT, asId, types);
  while (root !== NO_ROOT && !young) {
    young = rootIsYoung(mmu, cpu, root, range.start, range.end);
    root = nextMatchingRoot(mmu, cpu, root, asId, types);
  }
  cpu.rcuReadUnlock();
  return young;
}
