import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";

/** Whether somebody waits for `mmu_lock` or the processor. */
export function mmuLockNeedsBreak(mmu: ShadowMmu, cpu: Cpu): boolean {
  return cpu.needResched() || cpu.rwlockNeedbreak(mmu.mmuLock);
}

/**
 * `cond_resched_rwlock_write`: gives `mmu_lock`, held for write, and the processor to whoever waits; whether anybody did.
 * What the caller knew of the pages must be looked at again then.
 */
export function condReschedRwlockWrite(mmu: ShadowMmu, cpu: Cpu): boolean {
  if (!mmuLockNeedsBreak(mmu, cpu)) return false;
  cpu.writeUnlock(mmu.mmuLock);
  cpu.condResched();
  cpu.writeLock(mmu.mmuLock);
  return true;
}
