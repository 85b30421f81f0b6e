import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { roleInvalid } from "@kvm-age/spte";
import { RootStateError } from "../page/errors.js";
import { type KvmMmuPage, rootCountWord, spRole } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { deleteRootFromList, nextRootOnList, tdpMmuRootMatch } from "./root-list.js";

/**
 * `kvm_tdp_mmu_get_root`: takes a reference unless the count is zero already, in which case the root is on its way
 * out and the answer is false. The exchange repeats only if another reference came or went in between.
 */
export function kvmTdpMmuGetRoot(cpu: Cpu, root: KvmMmuPage): boolean {
  const word = rootCountWord(root);
  for (;;) {
    const count = cpu.readOnce32(word);
    if (count === 0) return false;
    if (cpu.cmpxchg32(word, count, count + 1, "relaxed") === count) return true;
  }
}

/**
 * `kvm_tdp_mmu_put_root`: drops a reference; the last one takes the root off the list and frees it after a grace
 * period. No TLB flush: whoever loads a root flushes.
 *
 * @throws RootStateError if the last reference to a valid root goes: the TDP MMU's own pins it until it is zapped.
 */
export function kvmTdpMmuPutRoot(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): void {
  // Full: everything done under the reference happens before the free; of several puts only one sees 1.
  const before = cpu.fetchAdd32(rootCountWord(root), -1, "full");
  if (before === 0) throw new RootStateError("reference count fell below zero", root);
  if (before > 1) return;
  if (!roleInvalid(mmu.format.rules, spRole(cpu, root))) {
    throw new RootStateError("last reference to a valid root dropped", root);
  }
  cpu.spinLock(mmu.pagesLock);
  deleteRootFromList(mmu, cpu, root);
  cpu.spinUnlock(mmu.pagesLock);
  cpu.callRcu(root, mmu.freeSpCallback);
}

/**
 * `tdp_mmu_next_root`, the step of the yield-safe iterators: finds the next matching root, takes a reference to it and
 * drops the one to `previous`. Roots whose count is zero are skipped. The list position survives because `previous` is
 * held until its successor is. Caller holds `mmu_lock` in any mode; leaving the loop early obliges it to put the
 * current root.
 */
export function tdpMmuNextRoot(
  mmu: TdpMmu,
  cpu: Cpu,
  previous: KvmMmuPage,
  asId: number,
  types: number,
): KvmMmuPage {
  cpu.lockdep.assertHeld(mmu.mmuLock, "any");
  cpu.rcuReadLock();
  let root = nextRootOnList(mmu, cpu, previous);
  while (root !== NULL_ADDRESS) {
    if (tdpMmuRootMatch(mmu, cpu, root, asId, types) && kvmTdpMmuGetRoot(cpu, root)) break;
    root = nextRootOnList(mmu, cpu, root);
  }
  cpu.rcuReadUnlock();
  if (previous !== NULL_ADDRESS) kvmTdpMmuPutRoot(mmu, cpu, previous);
  return root;
}
