import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, NULL_SLOT } from "@kvm-age/memslot";
import { kvmMmuRoleAsId } from "@kvm-age/spte";
import { flushAndGiveWay } from "../iterator/tdp-mmu-iter-cond-resched.js";
import { type KvmMmuPage, spGfn, spRole } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { kvmTdpMmuZapSp } from "./kvm-tdp-mmu-zap-sp.js";
import { unaccountNxHugePage, untrackPossibleNxHugePage } from "./nx-huge-pages.js";

/** Takes the first table off the list, so that nobody else recovers it; 0 if the list is empty. */
function takePossibleNxHugePage(mmu: TdpMmu, cpu: Cpu): KvmMmuPage {
  cpu.spinLock(mmu.pagesLock);
  const sp = cpu.readOnce32(mmu.possibleNxHugePagesWord) as KvmMmuPage;
  if (sp !== NULL_ADDRESS) untrackPossibleNxHugePage(mmu, cpu, sp);
  cpu.spinUnlock(mmu.pagesLock);
  return sp;
}

/** One table: zapped, or merely forgotten if its slot is dirty-logged and could not have huge pages anyway. */
function recoverOne(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  const asId = kvmMmuRoleAsId(spRole(cpu, sp));
  const slot = mmu.memslots.gfnToMemslot(cpu, asId, spGfn(cpu, sp));
  if (slot !== NULL_SLOT && kvmSlotDirtyTrackEnabled(cpu, slot)) {
    unaccountNxHugePage(mmu, cpu, sp);
    return false;
  }
  return kvmTdpMmuZapSp(mmu, cpu, sp);
}

/** Recovers up to `toZap` tables, giving way to whoever waits for `mmu_lock`; returns how many were removed. */
function recoverTables(mmu: TdpMmu, cpu: Cpu, toZap: number, shared: boolean): number {
  let removed = 0;
  let flush = false;
  cpu.rcuReadLock();
  for (let count = 0; count < toZap; count++) {
    const sp = takePossibleNxHugePage(mmu, cpu);
    if (sp === NULL_ADDRESS) break;
    if (recoverOne(mmu, cpu, sp)) {
      removed++;
      flush = true;
    }
    if (!cpu.needResched() && !cpu.rwlockNeedbreak(mmu.mmuLock)) continue;
    flushAndGiveWay(mmu, cpu, flush, shared);
    flush = false;
  }
  // Before RCU is left: hardware may still walk the removed tables.
  if (flush) cpu.flushRemoteTlbs(mmu.flushDomain, null);
  cpu.rcuReadUnlock();
  return removed;
}

/**
 * One period of the NX recovery worker (`kvm_recover_nx_huge_pages`): removes one in `nxHugePagesRecoveryRatio` of the tables that exist
 * only for the mitigation, so that their ranges can be mapped huge again. Takes `kvm->srcu` and `mmu_lock` in the mode that
 * the rule set zaps a table under. Returns how many were removed.
 */
export function kvmRecoverNxHugePages(mmu: TdpMmu, cpu: Cpu): number {
  const ratio = mmu.options.nxHugePagesRecoveryRatio;
  if (ratio === 0) return 0;
  const shared = mmu.format.rules.tdpZapSp === "read-lock";
  const srcu = cpu.srcuReadLock(mmu.memslots.locks.srcu);
  if (shared) cpu.readLock(mmu.mmuLock);
  else cpu.writeLock(mmu.mmuLock);
  const toZap = Math.ceil(cpu.readOnce32(mmu.possibleNxCountWord) / ratio);
  const removed = recoverTables(mmu, cpu, toZap, shared);
  if (shared) cpu.readUnlock(mmu.mmuLock);
  else cpu.writeUnlock(mmu.mmuLock);
  cpu.srcuReadUnlock(mmu.memslots.locks.srcu, srcu);
  return removed;
}
