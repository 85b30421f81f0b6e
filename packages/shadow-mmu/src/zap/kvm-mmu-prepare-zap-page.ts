import { type Address, type Cpu, offset, requestAllMembers } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { roleInvalid, withRoleInvalid } from "@kvm-age/spte";
import { unaccountShadowed } from "../hash/account-shadowed.js";
import { unaccountNxHugePage } from "../huge/nx-huge-pages.js";
import { kvmMmuUnlinkParents } from "../link/drop-parent-pte.js";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import {
  type KvmMmuPage,
  NO_PAGE,
  nxHugePageDisallowedWord,
  roleWord,
  rootCountWord,
  SPTE_ENT_PER_PAGE,
  spRole,
  spSpt,
  unsyncWord,
} from "../page/kvm-mmu-page.js";
import { spHasGptes } from "../page/sp-has-gptes.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { traceKvmMmuPrepareZapPage } from "../trace/trace-kvm-mmu-page.js";
import { kvmUnlinkUnsyncPage } from "../unsync/kvm-unlink-unsync-page.js";
import { mmuUnsyncWalk } from "../unsync/mmu-unsync-walk.js";
import type { InvalidList } from "./invalid-list.js";
import { mmuPageEmptyPte } from "./mmu-page-empty-pte.js";

/** What came of preparing one page. */
export interface ZapOutcome {
  /** Pages put on the list, this one included unless it is still a root. */
  readonly nrZapped: number;
  /** Others than this one were taken off `active_mmu_pages`: a walk over it starts anew. */
  readonly listUnstable: boolean;
}

/** `mmu_zap_unsync_children`: prepares every unsync page below `parent`; returns how many. */
function mmuZapUnsyncChildren(mmu: ShadowMmu, cpu: Cpu, parent: KvmMmuPage, list: InvalidList): number {
  let zapped = 0;
  let pages = mmuUnsyncWalk(mmu, cpu, parent);
  while (pages !== null) {
    for (const leaf of pages.leaves) {
      prepareZapPage(mmu, cpu, leaf.sp, list);
      pages.clearParents(cpu, leaf);
      zapped++;
    }
    pages = mmuUnsyncWalk(mmu, cpu, parent);
  }
  return zapped;
}

/**
 * `mmu_page_zap_pte`: empties the entry at `sptep` of page `sp`. A nested table that nothing points to any more goes with
 * it, as it will hardly be used again. Held: `mmu_lock` for write; the caller flushes.
 *
 * @param list where such a table goes; null keeps it
 * @returns how many pages were put on the list
 */
export function mmuPageZapPte(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  sptep: Address,
  list: InvalidList | null,
): number {
  const orphan = mmuPageEmptyPte(mmu, cpu, sp, sptep);
  return orphan === NO_PAGE || list === null ? 0 : prepareZapPage(mmu, cpu, orphan, list).nrZapped;
}

/** `kvm_mmu_page_unlink_children`: empties the table; returns how many pages were zapped with it. */
function kvmMmuPageUnlinkChildren(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, list: InvalidList): number {
  const spt = spSpt(cpu, sp);
  let zapped = 0;
  for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
    zapped += mmuPageZapPte(mmu, cpu, sp, offset(spt, index * 8), list);
  }
  return zapped;
}

/** Puts the page on the list, or, while vCPUs have it as a root, only off the active ones. True if those vCPUs must be told. */
function retirePage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, list: InvalidList): boolean {
  // A root that was zapped before is not on the list of active pages any more.
  if (!roleInvalid(mmu.format.rules, spRole(cpu, sp))) mmu.activeMmuPages.remove(cpu, sp);
  // An obsolete root is on no vCPU's way into the guest: its generation was announced.
  if (cpu.readOnce32(rootCountWord(sp)) !== 0) return !isObsoleteSp(mmu, cpu, sp);
  cpu.fetchAdd32(mmu.nUsedMmuPagesWord, -1, "relaxed");
  list.pages.push(sp);
  return false;
}

/**
 * `__kvm_mmu_prepare_zap_page`: takes a page out of use: its unsync descendants, its entries, the links to it, its
 * accounting. The page itself stays in the hash, invalid, until the list is committed, and as long as it is a root. Held:
 * `mmu_lock` for write, and `slots_lock` or SRCU.
 */
export function prepareZapPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, list: InvalidList): ZapOutcome {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { rules } = mmu.format;
  if (cpu.tracing) traceKvmMmuPrepareZapPage(mmu, cpu, sp);
  cpu.fetchAdd32(mmu.statistics.word("mmu_shadow_zapped"), 1, "relaxed");
  const others = mmuZapUnsyncChildren(mmu, cpu, sp, list) + kvmMmuPageUnlinkChildren(mmu, cpu, sp, list);
  kvmMmuUnlinkParents(mmu, cpu, sp);
  const role = spRole(cpu, sp);
  if (!roleInvalid(rules, role) && spHasGptes(role)) unaccountShadowed(mmu, cpu, sp);
  if (cpu.readOnce32(unsyncWord(sp)) !== 0) kvmUnlinkUnsyncPage(mmu, cpu, sp);
  const before = list.pages.length;
  const zappedRoot = retirePage(mmu, cpu, sp, list);
  if (cpu.readOnce32(nxHugePageDisallowedWord(sp)) !== 0) unaccountNxHugePage(mmu, cpu, sp);
  cpu.writeOnce32(roleWord(sp), withRoleInvalid(rules, role, true));
  // After the mark: a vCPU that handles the request finds it.
  if (zappedRoot) requestAllMembers(cpu, mmu.flushDomain, REQUEST_MMU_FREE_OBSOLETE_ROOTS);
  return { nrZapped: others + list.pages.length - before, listUnstable: others > 0 };
}

/**
 * `kvm_mmu_prepare_zap_page`: the same for who needs no count.
 *
 * @returns whether other pages were zapped with it, so that a walk over `active_mmu_pages` must start anew
 */
export function kvmMmuPrepareZapPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, list: InvalidList): boolean {
  return prepareZapPage(mmu, cpu, sp, list).listUnstable;
}
