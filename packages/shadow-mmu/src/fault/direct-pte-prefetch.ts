import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { mmuInvalidateInProgress } from "@kvm-age/memslot";
import {
  isShadowPresentPte,
  PG_LEVEL_4K,
  roleAccess,
  roleAdDisabled,
  roleLevel,
  type Spte,
} from "@kvm-age/spte";
import { type KvmMmuPage, spRole, spSpt, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { PTE_PREFETCH_NUM, type ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { kvmMmuPrefetchSptes } from "./kvm-mmu-prefetch-sptes.js";

/** `direct_pte_prefetch_many`: a run of entries of one linear table. False if there is no use in going on. */
function prefetchRun(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sp: KvmMmuPage,
  first: number,
  count: number,
): boolean {
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, first);
  const access = roleAccess(mmu.format.rules, spRole(cpu, sp));
  const sptep = offset(spSpt(cpu, sp), first * 8);
  return kvmMmuPrefetchSptes(mmu, cpu, vcpu, gfn, sptep, count, access);
}

/** `__direct_pte_prefetch`: every run of empty entries among the aligned eight around `index`. */
export function prefetchWindow(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sp: KvmMmuPage,
  index: number,
): void {
  const spt = spSpt(cpu, sp);
  const begin = index - (index % PTE_PREFETCH_NUM);
  const end = begin + PTE_PREFETCH_NUM;
  let first = begin;
  for (let at = begin; at <= end; at++) {
    const empty = at < end && at !== index && !isShadowPresentPte(cpu.readOnce(offset(spt, at * 8)) as Spte);
    if (empty) continue;
    if (at > first && !prefetchRun(mmu, cpu, vcpu, sp, first, at - first)) return;
    first = at + 1;
  }
}

/**
 * `direct_pte_prefetch`: maps the neighbours of a 4K entry of a linear table. Not without hardware A bits, where a prefetched page would
 * look like one that was used, and not while an invalidation is in progress, which might be for one of the pages. Held: `mmu_lock`
 * for write.
 */
export function directPtePrefetch(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, sptep: Address): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  const role = spRole(cpu, sp);
  if (roleAdDisabled(role) || roleLevel(role) > PG_LEVEL_4K) return;
  if (mmuInvalidateInProgress(mmu.memslots, cpu) !== 0) return;
  prefetchWindow(mmu, cpu, vcpu, sp, sptepIndex(sptep));
}
