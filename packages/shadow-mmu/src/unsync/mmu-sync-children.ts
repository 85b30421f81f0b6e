import { type Cpu, memberRequestsWord } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import { REQUEST_MMU_SYNC } from "@kvm-age/page-fault";
import { kvmMmuRoleAsId, PG_LEVEL_4K } from "@kvm-age/spte";
import { kvmMmuSlotGfnWriteProtect } from "../dirty/kvm-mmu-slot-gfn-write-protect.js";
import { condReschedRwlockWrite, mmuLockNeedsBreak } from "../lock/cond-resched-rwlock-write.js";
import { type KvmMmuPage, spGfn, spRole } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuRemoteFlushOrZap } from "../zap/kvm-mmu-remote-flush-or-zap.js";
import { kvmSyncPage } from "./kvm-sync-page.js";
import { kvmUnlinkUnsyncPage } from "./kvm-unlink-unsync-page.js";
import { mmuUnsyncWalk } from "./mmu-unsync-walk.js";
import type { UnsyncPages } from "./unsync-pages.js";

const EINTR = -4;

/** `kvm_vcpu_write_protect_gfn` for the guest table behind `sp`: whether any mapping of it lost write access. */
function writeProtectShadowed(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): boolean {
  const gfn = spGfn(cpu, sp);
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(spRole(cpu, sp)), gfn);
  return slot !== NULL_SLOT && kvmMmuSlotGfnWriteProtect(mmu, cpu, slot, gfn, PG_LEVEL_4K);
}

/** Takes write access away from all guest tables found, so that none of them changes while, or after, it is read. */
function protectLeaves(mmu: ShadowMmu, cpu: Cpu, pages: UnsyncPages): boolean {
  let isProtected = false;
  for (const { sp } of pages.leaves) {
    if (writeProtectShadowed(mmu, cpu, sp)) isProtected = true;
  }
  return isProtected;
}

/** Synchronises all pages found; whether translations must be flushed. */
function syncLeaves(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  pages: UnsyncPages,
  invalidList: InvalidList,
): boolean {
  let flush = false;
  for (const leaf of pages.leaves) {
    kvmUnlinkUnsyncPage(mmu, cpu, leaf.sp);
    if (kvmSyncPage(mmu, cpu, vcpu, leaf.sp, invalidList) > 0) flush = true;
    pages.clearParents(cpu, leaf);
  }
  return flush;
}

/**
 * `mmu_sync_children`: synchronises every unsync page below `parent`, in rounds of as many as a walk can record. Held:
 * `mmu_lock` for write, and SRCU.
 *
 * @param canYield whether `mmu_lock` may be given away between rounds
 * @returns 0, or -4 (`-EINTR`) if somebody waits for the lock and it may not be given away: the vCPU has a request to go on
 */
export function mmuSyncChildren(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  parent: KvmMmuPage,
  canYield: boolean,
): 0 | -4 {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const invalidList = new InvalidList();
  let flush = false;
  let pages = mmuUnsyncWalk(mmu, cpu, parent);
  for (; pages !== null; pages = mmuUnsyncWalk(mmu, cpu, parent)) {
    if (protectLeaves(mmu, cpu, pages)) {
      kvmMmuRemoteFlushOrZap(mmu, cpu, invalidList, true);
      flush = false;
    }
    if (syncLeaves(mmu, cpu, vcpu, pages, invalidList)) flush = true;
    if (!mmuLockNeedsBreak(mmu, cpu)) continue;
    kvmMmuRemoteFlushOrZap(mmu, cpu, invalidList, flush);
    flush = false;
    if (!canYield) {
      cpu.fetchOr32(memberRequestsWord(mmu.flushDomain, vcpu.id), REQUEST_MMU_SYNC, "relaxed");
      return EINTR;
    }
    condReschedRwlockWrite(mmu, cpu);
  }
  kvmMmuRemoteFlushOrZap(mmu, cpu, invalidList, flush);
  return 0;
}
