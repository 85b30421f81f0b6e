import type { Cpu } from "@kvm-age/machine";
import { makeNonleafSpte } from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import { type KvmMmuPage, spSpt } from "../page/kvm-mmu-page.js";
import { tdpAccountMmuPage } from "../page/tdp-account-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuIterSetSpte, tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";

/**
 * `tdp_mmu_link_sp`: makes the iterator's entry point to the table `sp`. With `shared` by compare-exchange (full barrier: the
 * table's entries are seen before the table); false if somebody else changed the entry first, and then the table
 * was never reachable.
 */
export function tdpMmuLinkSp(mmu: TdpMmu, cpu: Cpu, iter: TdpIter, sp: KvmMmuPage, shared: boolean): boolean {
  const spte = makeNonleafSpte(mmu.format, BigInt(spSpt(cpu, sp)), !mmu.format.kvmAdEnabled);
  if (shared) {
    if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, spte)) return false;
  } else {
    tdpMmuIterSetSpte(mmu, cpu, iter, spte);
  }
  tdpAccountMmuPage(mmu, cpu);
  return true;
}
