import type { Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import {
  type KvmPageFault,
  type LeafSpte,
  makeLeafSpte,
  makeNoSlotSpte,
  RetPf,
  traceKvmMmuSetSpte,
  traceMarkMmioSpte,
} from "@kvm-age/page-fault";
import {
  isAccessAllowed,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  leafSpteChangeNeedsTlbFlush,
  type PgLevel,
  roleAccess,
  type Spte,
} from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import { spRole } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";

/** Whether, by the rule set, the entry makes the fault unnecessary before a new value is built. */
function isSpurious(mmu: TdpMmu, fault: KvmPageFault, iter: TdpIter): boolean {
  const { oldSpte, level } = iter;
  if (!isShadowPresentPte(oldSpte)) return false;
  const leaf = isLastSpte(oldSpte, level);
  const { tdpPrefetchSpurious, tdpAllowedSpurious } = mmu.format.rules;
  if (fault.prefetch && tdpPrefetchSpurious === "present") return true;
  if (fault.prefetch && tdpPrefetchSpurious === "leaf" && leaf) return true;
  return tdpAllowedSpurious && leaf && isAccessAllowed(mmu.format, fault, oldSpte);
}

/** What the entry is to hold for the fault: a leaf, or without a slot the value that caches that. */
function makeTarget(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, iter: TdpIter): LeafSpte {
  const role = spRole(cpu, sptepToSp(mmu, cpu, iter.sptep));
  const { slot, gfn, pfn, prefetch } = fault;
  const { rules } = mmu.format;
  if (slot === NULL_SLOT) {
    return { spte: makeNoSlotSpte(mmu, cpu, iter.asId, gfn, roleAccess(rules, role)), wrprot: false };
  }
  return makeLeafSpte(mmu, cpu, mmu.shadowPages, {
    role,
    level: iter.level,
    slot,
    gfn,
    pfn,
    oldSpte: iter.oldSpte,
    prefetch,
    synchronizing: false,
    hostWritable: fault.mapWritable,
    pteAccess: rules.accAll,
  });
}

/**
 * After a new value is in place: flushes what hardware may still use of the old one. A leaf that loses MMU-writable here is rare, and the
 * kernel warns of it: a fault that looked its slot up before the slot was made again caches "no slot" over a leaf that a later
 * fault had mapped and aging had hidden (found by torture, 2026-11). The generation makes that entry stale; the flush is due.
 */
function flushReplaced(
  mmu: TdpMmu,
  cpu: Cpu,
  iter: TdpIter,
  oldSpte: Spte,
  newSpte: Spte,
  level: PgLevel,
): void {
  const wasTable = isShadowPresentPte(oldSpte) && !isLastSpte(oldSpte, level);
  if (!wasTable && !leafSpteChangeNeedsTlbFlush(mmu.format, oldSpte, newSpte)) return;
  cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn: iter.gfn, pages: kvmPagesPerHpage(level) });
}

function resultOf(
  mmu: TdpMmu,
  cpu: Cpu,
  fault: KvmPageFault,
  iter: TdpIter,
  leaf: LeafSpte,
  spurious: boolean,
): RetPf {
  if (isMmioSpte(mmu.format, leaf.spte)) {
    cpu.fetchAdd32(mmu.statistics.word("pf_mmio_spte_created"), 1, "relaxed");
    if (cpu.tracing) traceMarkMmioSpte(mmu.format, cpu, iter.sptep, iter.gfn, leaf.spte);
    return RetPf.emulate;
  }
  if (cpu.tracing) traceKvmMmuSetSpte(mmu.format, cpu, iter.level, iter.gfn, iter.sptep);
  if (leaf.wrprot && fault.write) return RetPf.writeProtected;
  return spurious ? RetPf.spurious : RetPf.fixed;
}

/**
 * `tdp_mmu_map_handle_target_level`: installs the leaf for a fault at the iterator's entry, which is at the goal level. A lost
 * compare-exchange means that another fault or a zap was first: the guest tries again.
 */
export function tdpMmuMapHandleTargetLevel(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, iter: TdpIter): RetPf {
  if (isSpurious(mmu, fault, iter)) return RetPf.spurious;
  const oldSpte = iter.oldSpte;
  const leaf = makeTarget(mmu, cpu, fault, iter);
  const spurious = leaf.spte === oldSpte;
  if (!spurious) {
    if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, leaf.spte)) return RetPf.retry;
    flushReplaced(mmu, cpu, iter, oldSpte, leaf.spte, iter.level);
  }
  return resultOf(mmu, cpu, fault, iter, leaf, spurious);
}
