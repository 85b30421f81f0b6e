import { type Cpu, offset } from "@kvm-age/machine";
import { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import { MN_ACTIVE_INVALIDATE_CLASS } from "../memslots/kvm-locks.js";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT } from "../memslots/memslots-layout.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { SET_GENERATION } from "../set/slot-set.js";

/**
 * Takes `mn_invalidate_lock` at a moment when no notifier invalidation is between start and end. Sleeps
 * outside the lock; the count is read again under it, because another invalidation may have started in
 * between.
 */
function lockWithoutActiveInvalidations(memslots: Memslots, cpu: Cpu): void {
  const { mnInvalidateLock } = memslots.locks;
  const count = offset(memslots.address, MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT);
  cpu.lockdep.acquired(MN_ACTIVE_INVALIDATE_CLASS, count);
  cpu.lockdep.released(MN_ACTIVE_INVALIDATE_CLASS, count);
  cpu.spinLock(mnInvalidateLock);
  while (cpu.readOnce32(count) !== 0) {
    cpu.spinUnlock(mnInvalidateLock);
    while (cpu.loadAcquire32(count) !== 0) cpu.relax(count);
    cpu.spinLock(mnInvalidateLock);
  }
}

/**
 * Makes the inactive set of an address space the active one and waits until nobody uses the other (kernel
 * `kvm_swap_active_memslots`). While it runs the generation has bit 63, so what is cached under it never
 * matches later.
 *
 * An invalidation's start and end must find the same slots: the set is published only when none is open.
 * Lockless aging is not counted; the SRCU wait covers it.
 *
 * Held: `slots_lock`, and `slots_arch_lock`, which is released before the SRCU wait, since a reader may be
 * waiting for it.
 */
export function kvmSwapActiveMemslots(memslots: Memslots, cpu: Cpu, mmu: SecondaryMmu, asId: number): void {
  const { locks } = memslots;
  const set = memslots.inactiveMemslots(cpu, asId);
  const generationWord = offset(set, SET_GENERATION);
  const generation = memslots.generation(cpu, asId);
  cpu.writeOnce(generationWord, generation | KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS);

  lockWithoutActiveInvalidations(memslots, cpu);
  // Release: pairs with the acquire in `kvmMemslots`. A reader that still sees the old set finds it complete
  // too.
  cpu.storeRelease32(memslots.activeSetWord(asId), set);
  cpu.spinUnlock(locks.mnInvalidateLock);
  cpu.mutexUnlock(locks.slotsArchLock);
  cpu.synchronizeSrcu(locks.srcu);

  const next = BigInt.asUintN(63, generation + BigInt(memslots.nrAddressSpaces));
  mmu.memslotsUpdated(cpu, next);
  cpu.writeOnce(generationWord, next);
}
