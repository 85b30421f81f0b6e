import type { Cpu } from "@kvm-age/machine";
import { SpteCorruptionError } from "../page/errors.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpIter } from "./tdp-iter.js";

/**
 * `tdp_mmu_iter_cond_resched`: gives `mmu_lock` (held for read if `shared`, else for write) and the processor to
 * whoever waits, if anybody does and the walk has advanced since the last time; returns whether it did. The caller
 * then continues with the next step, and a `flush` it had pending is done: freed tables may still be in use by
 * hardware, so the flush comes before RCU is left.
 */
export function tdpMmuIterCondResched(
  mmu: TdpMmu,
  cpu: Cpu,
  iter: TdpIter,
  flush: boolean,
  shared: boolean,
): boolean {
  if (!cpu.needResched() && !cpu.rwlockNeedbreak(mmu.mmuLock)) return false;
  if (iter.nextLastLevelGfn === iter.yieldedGfn) return false;
  if (flush) cpu.flushRemoteTlbs(mmu.flushDomain, null);
  cpu.rcuReadUnlock();
  dropAndRetakeMmuLock(mmu, cpu, shared);
  cpu.rcuReadLock();
  if (iter.gfn > iter.nextLastLevelGfn) {
    throw new SpteCorruptionError("walk went backwards", iter.gfn, iter.level, iter.oldSpte, iter.oldSpte);
  }
  iter.yielded = true;
  return true;
}

/** `cond_resched_rwlock_read` and `_write`: lets a waiter in, then takes the lock again in the same mode. */
function dropAndRetakeMmuLock(mmu: TdpMmu, cpu: Cpu, shared: boolean): void {
  if (shared) cpu.readUnlock(mmu.mmuLock);
  else cpu.writeUnlock(mmu.mmuLock);
  cpu.condResched();
  if (shared) cpu.readLock(mmu.mmuLock);
  else cpu.writeLock(mmu.mmuLock);
}
