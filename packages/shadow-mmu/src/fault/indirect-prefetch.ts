import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { mmuInvalidateInProgress } from "@kvm-age/memslot";
import { isShadowPresentPte, PG_LEVEL_4K, roleAccess, roleDirect, roleLevel, type Spte } from "@kvm-age/spte";
import {
  type Gpte,
  gpteAccess,
  gpteToGfn,
  isPrefetchInvalidGpte,
  protectCleanGpte,
} from "../guest-walk/gpte.js";
import type { GuestWalk } from "../guest-walk/guest-walk.js";
import { type KvmMmuPage, spRole, spSpt, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { dropSpte } from "../spte/drop-spte.js";
import { PTE_PREFETCH_NUM, type ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { prefetchWindow } from "./direct-pte-prefetch.js";
import { kvmMmuPrefetchSptes } from "./kvm-mmu-prefetch-sptes.js";

/** `prefetch_gpte`: maps one neighbour, if the guest has used it. False if there is no use in going on. */
function prefetchGpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  sp: KvmMmuPage,
  sptep: Address,
  gpte: Gpte,
): boolean {
  const { format } = mmu;
  if (isPrefetchInvalidGpte(format, walk.walker, gpte)) {
    dropSpte(mmu, cpu, sptep);
    return false;
  }
  const access = roleAccess(format.rules, spRole(cpu, sp)) & gpteAccess(format, walk.walker, gpte);
  const pteAccess = protectCleanGpte(format, walk.walker, access, gpte);
  return kvmMmuPrefetchSptes(mmu, cpu, vcpu, gpteToGfn(gpte), sptep, 1, pteAccess);
}

/** The aligned eight entries around `index`, from the guest entries that `gpteChanged` read under this lock. */
function prefetchGptes(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  sp: KvmMmuPage,
  index: number,
): void {
  const first = index - (index % PTE_PREFETCH_NUM);
  const spt = spSpt(cpu, sp);
  for (let at = first; at < first + PTE_PREFETCH_NUM; at++) {
    const sptep = offset(spt, at * 8);
    if (at === index || isShadowPresentPte(cpu.readOnce(sptep) as Spte)) continue;
    if (!prefetchGpte(mmu, cpu, vcpu, walk, sp, sptep, walk.prefetchPtes[at - first]!)) return;
  }
}

/**
 * `pte_prefetch`: maps the neighbours of the entry at `sptep` that the guest has used before and the host has at hand. Only 4 KiB pages,
 * and not while an invalidation is in progress, which might be for one of them. Held: `mmu_lock` for write.
 */
export function indirectPtePrefetch(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  sptep: Address,
): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  const role = spRole(cpu, sp);
  if (roleLevel(role) > PG_LEVEL_4K || mmuInvalidateInProgress(mmu.memslots, cpu) !== 0) return;
  const index = sptepIndex(sptep);
  if (roleDirect(role)) prefetchWindow(mmu, cpu, vcpu, sp, index);
  else prefetchGptes(mmu, cpu, vcpu, walk, sp, index);
}
