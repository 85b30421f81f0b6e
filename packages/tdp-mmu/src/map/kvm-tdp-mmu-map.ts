import type { Cpu } from "@kvm-age/machine";
import {
  disallowedHugepageAdjust,
  type KvmPageFault,
  RetPf,
  traceKvmMmuSpteRequested,
} from "@kvm-age/page-fault";
import {
  type Gfn,
  isFrozenSpte,
  isLargePte,
  isLastSpte,
  isShadowPresentPte,
  PG_LEVEL_4K,
  spteToPfn,
} from "@kvm-age/spte";
import { trackPossibleNxHugePage } from "../huge/nx-huge-pages.js";
import { tdpMmuSplitHugePage } from "../huge/tdp-mmu-split-huge-page.js";
import { TdpIter } from "../iterator/tdp-iter.js";
import { type KvmMmuPage, nxHugePageDisallowedWord } from "../page/kvm-mmu-page.js";
import { sptepToSp, tdpMmuAllocSp, tdpMmuInitChildSp } from "../page/tdp-mmu-sp.js";
import { rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import { type TdpMmu, tdpMmuFreeSp } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { tdpMmuLinkSp } from "./tdp-mmu-link-sp.js";
import { tdpMmuMapHandleTargetLevel } from "./tdp-mmu-map-handle-target-level.js";

/**
 * Puts a new table under an entry above the goal level: over nothing, or over a huge leaf that is split. False if
 * the entry changed first; the new table was never reachable and is freed at once.
 */
function insertTable(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault, iter: TdpIter): boolean {
  const sp = tdpMmuAllocSp(cpu, vcpu);
  tdpMmuInitChildSp(mmu, cpu, sp, iter.sptep, iter.gfn);
  cpu.writeOnce32(nxHugePageDisallowedWord(sp), fault.hugePageDisallowed ? 1 : 0);
  const level = iter.level;
  const linked = isShadowPresentPte(iter.oldSpte)
    ? tdpMmuSplitHugePage(mmu, cpu, iter, sp, true)
    : tdpMmuLinkSp(mmu, cpu, iter, sp, true);
  if (!linked) {
    tdpMmuFreeSp(mmu, cpu, sp);
    return false;
  }
  if (fault.hugePageDisallowed && fault.reqLevel >= level) trackPossibleNxHugePage(mmu, cpu, sp);
  return true;
}

/**
 * `kvm_tdp_mmu_map`: maps one page for a fault. `mmu_lock` is held for read and the invalidation check was made under it;
 * the level is chosen (`kvmMmuHugepageAdjust`) and the caches are topped up. Every step is a compare-exchange; whoever loses
 * one lets the guest try again.
 */
export function kvmTdpMmuMap(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault): RetPf {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  if (cpu.tracing) traceKvmMmuSpteRequested(cpu, fault, mmu.format.rules.accAll);
  cpu.rcuReadLock();
  const result = mapUnderRcu(mmu, cpu, vcpu, fault);
  cpu.rcuReadUnlock();
  return result;
}

/** Whether the entry points to a table that exists for the NX mitigation. */
function isNxDisallowedTable(mmu: TdpMmu, cpu: Cpu, iter: TdpIter): boolean {
  const { oldSpte } = iter;
  if (!isShadowPresentPte(oldSpte) || isLastSpte(oldSpte, iter.level)) return false;
  const child = sptepToSp(mmu, cpu, (spteToPfn(mmu.format, oldSpte) * 4096) as KvmMmuPage);
  return cpu.readOnce32(nxHugePageDisallowedWord(child)) !== 0;
}

function mapUnderRcu(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault): RetPf {
  const iter = new TdpIter(mmu.format);
  const end = (fault.gfn + 1) as Gfn;
  const root = rootOfVcpu(mmu, cpu, vcpu);
  for (iter.start(cpu, root, PG_LEVEL_4K, fault.gfn); iter.valid && iter.gfn < end; iter.next(cpu)) {
    if (mmu.nxHugePages && iter.level === fault.goalLevel) {
      disallowedHugepageAdjust(fault, iter.level, isNxDisallowedTable(mmu, cpu, iter));
    }
    // Somebody owns the entry or the table is dead: the guest tries again.
    if (isFrozenSpte(mmu.format, iter.oldSpte)) return RetPf.retry;
    if (iter.level === fault.goalLevel) return tdpMmuMapHandleTargetLevel(mmu, cpu, fault, iter);
    if (isShadowPresentPte(iter.oldSpte) && !isLargePte(iter.oldSpte)) continue;
    if (!insertTable(mmu, cpu, vcpu, fault, iter)) return RetPf.retry;
  }
  // An entry above changed under the walk.
  return RetPf.retry;
}
