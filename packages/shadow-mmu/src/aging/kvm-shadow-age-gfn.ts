import type { Cpu } from "@kvm-age/machine";
import { type KvmGfnRange, kvmMemslotsHaveRmaps } from "@kvm-age/memslot";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMayHaveShadowMmuSptes } from "./kvm-may-have-shadow-mmu-sptes.js";
import { kvmRmapAgeGfnRange } from "./kvm-rmap-age-gfn-range.js";
import { kvmRmapAgeGfnRangeLocked } from "./kvm-rmap-age-gfn-range-locked.js";

/**
 * One pass over the rmaps, if there may be anything in them: by the lockless form and its gate, or by the locked form, which asks
 * whether a shadow root was ever allocated.
 */
function ageGfnRange(mmu: ShadowMmu, cpu: Cpu, range: KvmGfnRange, testOnly: boolean): boolean {
  if (mmu.options.aging === "lockless") {
    // It is there to spare others the wait.
    cpu.lockdep.assertNotHeld(mmu.mmuLock);
    return kvmMayHaveShadowMmuSptes(mmu, cpu) && kvmRmapAgeGfnRange(mmu, cpu, range, testOnly);
  }
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  return kvmMemslotsHaveRmaps(mmu.memslots, cpu) && kvmRmapAgeGfnRangeLocked(mmu, cpu, range, testOnly);
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
