import { type Cpu, requestAllMembers } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { kvmTdpMmuInvalidateRoots, kvmTdpMmuZapInvalidatedRoots } from "../root/invalidate-roots.js";
import { KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceKvmMmuZapAllFast } from "../trace/trace-kvm-mmu-page.js";

/**
 * Front half of `kvm_mmu_zap_all_fast`, TDP part: ends the generation, invalidates the roots and asks every vCPU to drop obsolete
 * ones. Held: `slots_lock`, and `mmu_lock` for write.
 */
export function kvmTdpMmuZapAllFastBegin(mmu: TdpMmu, cpu: Cpu): void {
  if (cpu.tracing) traceKvmMmuZapAllFast(mmu, cpu);
  cpu.writeOnce32(mmu.mmuValidGenWord, 1 - cpu.readOnce32(mmu.mmuValidGenWord));
  kvmTdpMmuInvalidateRoots(mmu, cpu, KVM_VALID_ROOTS);
  requestAllMembers(cpu, mmu.flushDomain, REQUEST_MMU_FREE_OBSOLETE_ROOTS);
}

/**
 * `kvm_mmu_zap_all_fast` of a VM without shadow pages: used on slot deletion and move and when the MMIO generation
 * wraps. Held: `slots_lock`, and not `mmu_lock`.
 */
export function kvmTdpMmuZapAllFast(mmu: TdpMmu, cpu: Cpu): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  cpu.writeLock(mmu.mmuLock);
  kvmTdpMmuZapAllFastBegin(mmu, cpu);
  cpu.writeUnlock(mmu.mmuLock);
  kvmTdpMmuZapInvalidatedRoots(mmu, cpu, true);
}
