import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type KvmGfnRange, kvmMemslotsHaveRmaps, slotRmapArray } from "@kvm-age/memslot";
import { PG_LEVEL_4K } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMayHaveShadowMmuSptes } from "./kvm-may-have-shadow-mmu-sptes.js";
import { kvmRmapAgeGfnRange } from "./kvm-rmap-age-gfn-range.js";
import { kvmRmapAgeGfnRangeLocked } from "./kvm-rmap-age-gfn-range-locked.js";

/**
 * Whether the slot has no lists although the VM has shadow pages. The first shadow root may be made while the slot is being changed or deleted:
 * then its copy, which is in the active set, got the lists, and the slot that this walk found before has none. No entry was ever on a
 * list of it, so there is nothing to age.
 */
function hasNoLists(cpu: Cpu, range: KvmGfnRange): boolean {
  return slotRmapArray(cpu, range.slot, PG_LEVEL_4K) === NULL_ADDRESS;
}

/**
 * One pass over the rmaps, if there may be anything in them: by the lockless form and its gate, or by the locked form, which asks
 * whether a shadow root was ever allocated.
 */
function ageGfnRange(mmu: ShadowMmu, cpu: Cpu, range: KvmGfnRange, testOnly: boolean): boolean {
  if (mmu.options.aging === "lockless") {
    // It is there to spare others the wait.
    cpu.lockdep.assertNotHeld(mmu.mmuLock);
    if (!kvmMayHaveShadowMmuSptes(mmu, cpu) || hasNoLists(cpu, range)) return false;
    return kvmRmapAgeGfnRange(mmu, cpu, range, testOnly);
  }
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  if (!kvmMemslotsHaveRmaps(mmu.memslots, cpu) || hasNoLists(cpu, range)) return false;
  return kvmRmapAgeGfnRangeLocked(mmu, cpu, range, testOnly);
}

/**
 * Shadow part of `kvm_age_gfn`: clears the accessed state of the range; whether any of it was accessed. Held: `kvm->srcu`; with
 * `options.aging` `mmu-lock-write` also `mmu_lock` for write, else no lock.
 */
export function kvmShadowAgeGfn(mmu: ShadowMmu, cpu: Cpu, range: KvmGfnRange): boolean {
  return ageGfnRange(mmu, cpu, range, false);
}

/** Shadow part of `kvm_test_age_gfn`: whether any of the range was accessed; changes nothing. Held: as `kvmShadowAgeGfn`. */
export function kvmShadowTestAgeGfn(mmu: ShadowMmu, cpu: Cpu, range: KvmGfnRange): boolean {
  return ageGfnRange(mmu, cpu, range, true);
}
