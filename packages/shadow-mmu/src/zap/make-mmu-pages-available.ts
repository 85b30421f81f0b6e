import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMmuZapOldestMmuPages } from "./kvm-mmu-zap-oldest-mmu-pages.js";

/** Pages that must be left before a fault goes on (`KVM_MIN_FREE_MMU_PAGES`): one for every level. */
export const KVM_MIN_FREE_MMU_PAGES = 5;
/** Pages that are left after room was made (`KVM_REFILL_PAGES`). */
export const KVM_REFILL_PAGES = 25;

/** `kvm_mmu_available_pages`: what is left of the quota. */
export function kvmMmuAvailablePages(mmu: ShadowMmu, cpu: Cpu): number {
  return Math.max(0, cpu.readOnce32(mmu.nMaxMmuPagesWord) - cpu.readOnce32(mmu.nUsedMmuPagesWord));
}

/**
 * `make_mmu_pages_available`: sees to it that a fault, or a root, finds room for its pages in the quota, by zapping the
 * oldest ones. The quota is soft: with fewer than five pages left, but one, the fault goes on and may exceed it. Held:
 * `mmu_lock` for write, and SRCU.
 *
 * @returns false if nothing is left and only roots are there (`-ENOSPC`)
 */
export function makeMmuPagesAvailable(mmu: ShadowMmu, cpu: Cpu): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const available = kvmMmuAvailablePages(mmu, cpu);
  if (available >= KVM_MIN_FREE_MMU_PAGES) return true;
  kvmMmuZapOldestMmuPages(mmu, cpu, KVM_REFILL_PAGES - available);
  return kvmMmuAvailablePages(mmu, cpu) > 0;
}
