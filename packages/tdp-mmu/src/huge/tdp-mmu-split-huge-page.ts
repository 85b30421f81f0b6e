import { type Cpu, offset } from "@kvm-age/machine";
import { traceKvmMmuSplitHugePage } from "@kvm-age/page-fault";
import { makeSmallSpte, type PgLevel } from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuLinkSp } from "../map/tdp-mmu-link-sp.js";
import { type KvmMmuPage, spRole, spSpt } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";

const EBUSY = 16;

/**
 * `tdp_mmu_split_huge_page`: replaces the huge leaf at the iterator's entry by the table `sp`, filled with 512 entries that
 * translate the same. No flush: a translation cached from the huge leaf is still right. False if the leaf changed first.
 */
export function tdpMmuSplitHugePage(
  mmu: TdpMmu,
  cpu: Cpu,
  iter: TdpIter,
  sp: KvmMmuPage,
  shared: boolean,
): boolean {
  const { gfn, level, oldSpte } = iter;
  const spt = spSpt(cpu, sp);
  const role = spRole(cpu, sp);
  // Not reachable yet, so plain stores do; the link publishes them.
  for (let index = 0; index < 512; index++) {
    const small = makeSmallSpte(mmu.format, oldSpte, role, index, mmu.nxHugePages);
    cpu.writeOnce(offset(spt, index * 8), small);
  }
  const linked = tdpMmuLinkSp(mmu, cpu, iter, sp, shared);
  if (linked) cpu.fetchAdd32(mmu.statistics.pageWord((level - 1) as PgLevel), 512, "relaxed");
  if (cpu.tracing) traceKvmMmuSplitHugePage(cpu, gfn, oldSpte, level, linked ? 0 : -EBUSY);
  return linked;
}
