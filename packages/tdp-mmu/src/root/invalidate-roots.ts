import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleInvalid, withRoleInvalid } from "@kvm-age/spte";
import { RootStateError } from "../page/errors.js";
import { type KvmMmuPage, roleWord, scheduledRootToZapWord, spRole } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuZapRoot } from "../zap/tdp-mmu-zap-root.js";
import { nextMatchingRoot } from "./root-list.js";
import { kvmTdpMmuPutRoot, tdpMmuNextRoot } from "./root-reference.js";
import { ANY_AS_ID, KVM_ALL_ROOTS, KVM_INVALID_ROOTS } from "./root-types.js";

const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/**
 * `kvm_tdp_mmu_invalidate_roots`: marks every valid root of the given types invalid and schedules it to be zapped. The caller
 * holds `mmu_lock` for write, asks all vCPUs to drop obsolete roots in the same critical section, and calls
 * `kvmTdpMmuZapInvalidatedRoots` before its update completes.
 */
export function kvmTdpMmuInvalidateRoots(mmu: TdpMmu, cpu: Cpu, types: number): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const valid = types & ~KVM_INVALID_ROOTS;
  let root = nextMatchingRoot(mmu, cpu, NO_ROOT, ANY_AS_ID, valid);
  while (root !== NO_ROOT) {
    cpu.writeOnce32(scheduledRootToZapWord(root), 1);
    // Lockless walkers may still see the root as valid: they find it until it is zapped, or age it in vain.
    cpu.writeOnce32(roleWord(root), withRoleInvalid(mmu.format.rules, spRole(cpu, root), true));
    root = nextMatchingRoot(mmu, cpu, root, ANY_AS_ID, valid);
  }
}

/**
 * `kvm_tdp_mmu_zap_invalidated_roots`: zaps what was invalidated and drops the TDP MMU's own references. The reference goes
 * only after the zap, so that notifier callbacks find the root while it still maps anything. Under `slots_lock`.
 *
 * @param shared take `mmu_lock` for read (updates) or for write (VM destruction)
 */
export function kvmTdpMmuZapInvalidatedRoots(mmu: TdpMmu, cpu: Cpu, shared: boolean): void {
  if (shared) cpu.readLock(mmu.mmuLock);
  else cpu.writeLock(mmu.mmuLock);
  let root = tdpMmuNextRoot(mmu, cpu, NO_ROOT, ANY_AS_ID, KVM_ALL_ROOTS);
  while (root !== NO_ROOT) {
    if (cpu.readOnce32(scheduledRootToZapWord(root)) !== 0) zapScheduledRoot(mmu, cpu, root, shared);
    root = tdpMmuNextRoot(mmu, cpu, root, ANY_AS_ID, KVM_ALL_ROOTS);
  }
  if (shared) cpu.readUnlock(mmu.mmuLock);
  else cpu.writeUnlock(mmu.mmuLock);
}

function zapScheduledRoot(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, shared: boolean): void {
  cpu.writeOnce32(scheduledRootToZapWord(root), 0);
  if (!roleInvalid(mmu.format.rules, spRole(cpu, root))) {
    throw new RootStateError("valid root is scheduled to be zapped", root);
  }
  tdpMmuZapRoot(mmu, cpu, root, shared);
  kvmTdpMmuPutRoot(mmu, cpu, root);
}
