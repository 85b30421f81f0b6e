import type { Cpu } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, NULL_SLOT } from "@kvm-age/memslot";
import { kvmMmuRoleAsId } from "@kvm-age/spte";
import { condReschedRwlockWrite, mmuLockNeedsBreak } from "../lock/cond-resched-rwlock-write.js";
import { type KvmMmuPage, NO_PAGE, spGfn, spRole } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuPrepareZapPage } from "../zap/kvm-mmu-prepare-zap-page.js";
import { kvmMmuRemoteFlushOrZap } from "../zap/kvm-mmu-remote-flush-or-zap.js";
import { unaccountNxHugePage } from "./nx-huge-pages.js";

/** Whether the table's slot is dirty-logged, and could not have huge pages anyway. */
function isDirtyTracked(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(spRole(cpu, sp)), spGfn(cpu, sp));
  return slot !== NULL_SLOT && kvmSlotDirtyTrackEnabled(cpu, slot);
}

/** Recovers up to `toZap` tables, the oldest first, giving way in between; returns how many were zapped. */
function recoverTables(mmu: ShadowMmu, cpu: Cpu, toZap: number): number {
  const list = new InvalidList();
  let zapped = 0;
  for (let count = 0; count < toZap; count++) {
    const sp = mmu.possibleNxHugePages.first(cpu);
    if (sp === NO_PAGE) break;
    if (isDirtyTracked(mmu, cpu, sp)) {
      unaccountNxHugePage(mmu, cpu, sp);
    } else {
      // Takes it off the list as well.
      kvmMmuPrepareZapPage(mmu, cpu, sp, list);
      zapped++;
    }
    if (!mmuLockNeedsBreak(mmu, cpu)) continue;
    kvmMmuRemoteFlushOrZap(mmu, cpu, list, false);
    condReschedRwlockWrite(mmu, cpu);
  }
  kvmMmuRemoteFlushOrZap(mmu, cpu, list, false);
  return zapped;
}

/**
 * One period of the NX recovery worker for shadow pages (`kvm_recover_nx_huge_pages`): zaps one in
 * `nxHugePagesRecoveryRatio` of the tables that exist only for the mitigation, so that their ranges can be mapped huge
 * again. Takes `kvm->srcu` and `mmu_lock` for write.
 *
 * @returns how many were zapped
 */
export function kvmShadowRecoverNxHugePages(mmu: ShadowMmu, cpu: Cpu): number {
  const ratio = mmu.options.nxHugePagesRecoveryRatio;
  if (ratio === 0) return 0;
  const { srcu } = mmu.memslots.locks;
  const index = cpu.srcuReadLock(srcu);
  cpu.writeLock(mmu.mmuLock);
  const toZap = Math.ceil(cpu.readOnce32(mmu.possibleNxCountWord) / ratio);
  const zapped = recoverTables(mmu, cpu, toZap);
  cpu.writeUnlock(mmu.mmuLock);
  cpu.srcuReadUnlock(srcu, index);
  return zapped;
}
