import type { Cpu } from "@kvm-age/machine";
import { SpteCorruptionError } from "@kvm-age/page-fault";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpIter } from "./tdp-iter.js";

/**
 * `tdp_mmu_iter_need_resched`: somebody waits for `mmu_lock` or the processor, and the walk has advanced since it last gave
 * way. Without the second condition a walk under contention would yield for ever at the same entry.
 */
export function tdpMmuIterNeedResched(mmu: TdpMmu, cpu: Cpu, iter: TdpIter): boolean {
  if (!cpu.needResched() && !cpu.rwlockNeedbreak(mmu.mmuLock)) return false;
  return iter.nextLastLevelGfn !== iter.yieldedGfn;
}

/**
 * `tdp_mmu_iter_cond_resched`: gives `mmu_lock` (held for read if `shared`, else for write) and the processor to
 * whoever waits, if anybody does and the walk has advanced since the last time; returns whether it did. The caller
 * then continues with the next step, and a `flush` it had pending is done.
 */
export function tdpMmuIterCondResched(
  mmu: TdpMmu,
  cpu: Cpu,
  iter: TdpIter,
  flush: boolean,
  shared: boolean,
): boolean {
  if (!tdpMmuIterNeedResched(mmu, cpu, iter)) return false;
  flushAndGiveWay(mmu, cpu, flush, shared);
  if (iter.gfn > iter.nextLastLevelGfn) {
    throw new SpteCorruptionError("walk went backwards", iter.gfn, iter.level, iter.oldSpte, iter.oldSpte);
  }
  iter.yielded = true;
  return true;
}

/**
 * `cond_resched_rwlock_read` and `_write` from within a read section: does the pending flush, leaves RCU, lets a waiter in and
 * takes the lock again in the same mode. The flush comes first: hardware may still use tables that RCU frees.
 */
export function flushAndGiveWay(mmu: TdpMmu, cpu: Cpu, flush: boolean, shared: boolean): void {
  if (flush) cpu.flushRemoteTlbs(mmu.flushDomain, null);
  cpu.rcuReadUnlock();
  if (shared) cpu.readUnlock(mmu.mmuLock);
  else cpu.writeUnlock(mmu.mmuLock);
  cpu.condResched();
  if (shared) cpu.readLock(mmu.mmuLock);
  else cpu.writeLock(mmu.mmuLock);
  cpu.rcuReadLock();
}
