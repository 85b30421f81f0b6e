import { type Cpu, requestAllMembers } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuZapAllFast } from "../trace/trace-kvm-mmu-page.js";
import { kvmZapObsoletePages } from "./kvm-zap-obsolete-pages.js";

/**
 * First part of `kvm_mmu_zap_all_fast`: ends the generation, so that every page is obsolete. `slots_lock` is held until all
 * of them are zapped, so there are never more than two generations. The request to drop obsolete roots comes after it.
 * Held: `slots_lock`, and `mmu_lock` for write.
 */
export function kvmMmuZapAllFastBegin(mmu: ShadowMmu, cpu: Cpu): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  if (cpu.tracing) traceKvmMmuZapAllFast(mmu, cpu);
  cpu.writeOnce32(mmu.mmuValidGenWord, 1 - cpu.readOnce32(mmu.mmuValidGenWord));
}

/**
 * `kvm_mmu_zap_all_fast` of a VM without the TDP MMU: used on slot deletion and move and when the MMIO generation wraps.
 * Held: `slots_lock`, and not `mmu_lock`.
 */
export function kvmShadowZapAllFast(mmu: ShadowMmu, cpu: Cpu): void {
  cpu.writeLock(mmu.mmuLock);
  kvmMmuZapAllFastBegin(mmu, cpu);
  // Under the lock: a vCPU that has handled the request finds the new generation, and no fault is served by an obsolete root.
  requestAllMembers(cpu, mmu.flushDomain, REQUEST_MMU_FREE_OBSOLETE_ROOTS);
  kvmZapObsoletePages(mmu, cpu);
  cpu.writeUnlock(mmu.mmuLock);
}
