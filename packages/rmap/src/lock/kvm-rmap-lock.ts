import { type Cpu, noLockdepHooks } from "@kvm-age/machine";
import { RmapLockError } from "../errors.js";
import { isRmapLocked, KVM_RMAP_LOCKED, type KvmRmapHead, kvmRmapGet } from "../head/kvm-rmap-head.js";
import type { KvmRmaps } from "../kvm-rmaps.js";
import { RMAP_LOCK_CLASS } from "./rmap-lock-class.js";

/** `__kvm_rmap_lock`: the contents of the head, without the lock bit, which is set now; 0 if the list is empty, and not locked. */
function lockRmapHead(cpu: Cpu, head: KvmRmapHead): bigint {
  // A holder that is scheduled away would be waited for by spinning.
  cpu.lockdep.assertPreemptionDisabled();
  // Without order: a stale value costs a failed exchange, and 0 needs none, because then nothing is read through it.
  // A first entry that is being published at this moment may be missed: the list was empty when this began.
  let old = cpu.readOnce(head);
  while (old !== 0n) {
    if (isRmapLocked(old)) {
      cpu.relax(head);
      // The kernel's re-read has no order either; here it is the load that a compiler may not move out of the loop. The
      // holder may have zapped the list, so it may be empty now.
      old = cpu.loadAcquire(head);
      continue;
    }
    // Acquire pairs with the release store of the last unlock, by a writer or a reader: the chain is seen as that one
    // left it. Until the unlock others see the same pointer with the bit, and wait. Lost means that somebody locked,
    // unlocked or changed the list since the look: what was found is looked at again.
    const found = cpu.cmpxchg(head, old, old | KVM_RMAP_LOCKED, "acquire");
    if (found === old) {
      cpu.lockdep.acquired(RMAP_LOCK_CLASS, head);
      return old;
    }
    old = found;
  }
  return 0n;
}

/**
 * Tells the validator, if there is one, that the bit is about to be released. A writer that found the list empty does not
 * hold it; its head is 0 until it publishes.
 */
function announceRelease(cpu: Cpu, head: KvmRmapHead): void {
  if (cpu.lockdep === noLockdepHooks) return;
  if (cpu.readOnce(head) !== 0n) cpu.lockdep.released(RMAP_LOCK_CLASS, head);
}

/**
 * Locks a list in order to change it, and returns its contents (kernel `kvm_rmap_lock`). An empty list is not locked: no
 * reader can hold it, and `mmu_lock` keeps other writers away. Held: `mmu_lock` for write.
 *
 * @returns the value of the head without the lock bit; 0 if the list is empty
 */
export function kvmRmapLock(rmaps: KvmRmaps, cpu: Cpu, head: KvmRmapHead): bigint {
  cpu.lockdep.assertHeld(rmaps.mmuLock, "write");
  return lockRmapHead(cpu, head);
}

/**
 * Unlocks a list to its new contents (kernel `kvm_rmap_unlock`). After a `kvmRmapLock` that returned 0 this publishes the first
 * entry. Held: `mmu_lock` for write.
 *
 * @param newValue 0, a slot, or a descriptor with `KVM_RMAP_MANY`
 * @throws RmapLockError if `newValue` has the lock bit.
 */
export function kvmRmapUnlock(rmaps: KvmRmaps, cpu: Cpu, head: KvmRmapHead, newValue: bigint): void {
  cpu.lockdep.assertHeld(rmaps.mmuLock, "write");
  if (isRmapLocked(newValue)) {
    throw new RmapLockError("unlock to a locked value", head, newValue, "values without KVM_RMAP_LOCKED");
  }
  announceRelease(cpu, head);
  // Release pairs with the acquiring exchange of the next holder: descriptors written, or freed, before are seen so by it.
  cpu.storeRelease(head, newValue);
}

/**
 * Locks a list in order to read it, without `mmu_lock`, and returns its contents (kernel `kvm_rmap_lock_readonly`). While
 * the bit is held the chain does not change and the tables its slots lie in are not freed; the entries in the slots may change.
 * Preemption is off until `kvmRmapUnlockReadonly`; an empty list is not locked, and preemption is on again.
 *
 * @returns the value of the head without the lock bit, to be iterated and handed to the unlock; 0 if the list is empty
 */
export function kvmRmapLockReadonly(_rmaps: KvmRmaps, cpu: Cpu, head: KvmRmapHead): bigint {
  // Before the attempt, so that there is no moment in which the bit is held with preemption on.
  cpu.preemptDisable();
  const value = lockRmapHead(cpu, head);
  if (value === 0n) cpu.preemptEnable();
  return value;
}

/**
 * Ends what `kvmRmapLockReadonly` began (kernel `kvm_rmap_unlock_readonly`); does nothing if that found the list empty.
 *
 * @param oldValue what the lock returned
 * @throws RmapLockError if the head no longer holds `oldValue`: somebody changed the list without the bit.
 */
export function kvmRmapUnlockReadonly(_rmaps: KvmRmaps, cpu: Cpu, head: KvmRmapHead, oldValue: bigint): void {
  if (oldValue === 0n) return;
  const found = kvmRmapGet(cpu, head);
  if (found !== oldValue) {
    throw new RmapLockError("list changed under a reader", head, oldValue, `0x${found.toString(16)}`);
  }
  announceRelease(cpu, head);
  // Release pairs with a writer's acquiring exchange: every read through the chain is over before the writer frees any of it.
  cpu.storeRelease(head, oldValue);
  cpu.preemptEnable();
}
