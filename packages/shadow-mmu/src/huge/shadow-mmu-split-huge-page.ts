import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Slot } from "@kvm-age/memslot";
import {
  isLastSpte,
  isShadowPresentPte,
  makeSmallSpte,
  roleAccess,
  roleLevel,
  type Spte,
} from "@kvm-age/spte";
import { getShadowPageFromCaches } from "../hash/kvm-mmu-get-shadow-page.js";
import { rmapAdd } from "../leaf-rmap/rmap-add.js";
import { kvmMmuChildRole } from "../link/kvm-mmu-child-role.js";
import { linkShadowPage } from "../link/link-shadow-page.js";
import { type KvmMmuPage, SPTE_ENT_PER_PAGE, spRole, spSpt, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetAccess, kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteSet } from "../spte/mmu-spte-set.js";

/**
 * `shadow_mmu_get_sp_for_split`: the table for the range of a huge page. Always a direct one, also below an indirect table: the range
 * itself is linear. It may be in use already, by another huge page of the same range and access.
 */
function shadowMmuGetSpForSplit(mmu: ShadowMmu, cpu: Cpu, hugeSptep: Address): KvmMmuPage {
  const hugeSp = sptepToSp(mmu, cpu, hugeSptep);
  const index = sptepIndex(hugeSptep);
  const gfn = kvmMmuPageGetGfn(mmu, cpu, hugeSp, index);
  const access = kvmMmuPageGetAccess(mmu, cpu, hugeSp, index);
  const role = kvmMmuChildRole(mmu, cpu, hugeSptep, true, access);
  return getShadowPageFromCaches(mmu, cpu, null, mmu.splitCaches, gfn, role);
}

/**
 * Fills the empty entries of the new table with what the huge page says of their part.
 *
 * @returns whether an entry pointed to a table, which may map less than the huge page does
 */
function fill(mmu: ShadowMmu, cpu: Cpu, slot: Slot, sp: KvmMmuPage, hugeSpte: Spte): boolean {
  const role = spRole(cpu, sp);
  const level = roleLevel(role);
  const access = roleAccess(mmu.format.rules, role);
  let flush = false;
  for (let index = 0; index < SPTE_ENT_PER_PAGE; index++) {
    const sptep = offset(spSpt(cpu, sp), index * 8);
    const present = cpu.readOnce(sptep) as Spte;
    if (isShadowPresentPte(present)) {
      flush = !isLastSpte(present, level) || flush;
      continue;
    }
    mmuSpteSet(mmu, cpu, sptep, makeSmallSpte(mmu.format, hugeSpte, role, index, mmu.nxHugePages));
    const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, index);
    rmapAdd(mmu, cpu, mmu.splitCaches.descriptors, slot, sptep, gfn, access);
  }
  return flush;
}

/**
 * `shadow_mmu_split_huge_page`: replaces a huge page by a table that translates the same. No flush, unless an entry of the table leads
 * to another one: a translation cached from the huge page is still right. Held: `mmu_lock` for write, `slots_lock`; the split caches
 * are topped up.
 */
export function shadowMmuSplitHugePage(mmu: ShadowMmu, cpu: Cpu, slot: Slot, hugeSptep: Address): void {
  const hugeSpte = cpu.readOnce(hugeSptep) as Spte;
  const sp = shadowMmuGetSpForSplit(mmu, cpu, hugeSptep);
  const flush = fill(mmu, cpu, slot, sp, hugeSpte);
  linkShadowPage(mmu, cpu, mmu.splitCaches.descriptors, hugeSptep, sp, flush);
}
