import type { Cpu } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, markPageDirtyInSlot, NULL_SLOT } from "@kvm-age/memslot";
import {
  isAccessAllowed,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  leafSpteChangeNeedsTlbFlush,
  makeMmioSpte,
  makeSpte,
  type PgLevel,
  roleAccess,
  roleAdDisabled,
  roleGuestMode,
  type Spte,
} from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import { RetPf } from "../fault/ret-pf.js";
import { isNxHugePageEnabled } from "../huge/nx-huge-pages.js";
import type { TdpIter } from "../iterator/tdp-iter.js";
import { spRole } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceKvmMmuSetSpte, traceMarkMmioSpte } from "../trace/trace-spte.js";
import { tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";
import { kvmTdpMmuReadSpte } from "../write/tdp-spte-access.js";

/** Write-back memory with the guest's PAT ignored (EPT memory type 6, IPAT): what KVM uses without assigned devices. */
const EPT_MEMORY_TYPE_WB_IPAT = 0x70n;

/** Whether the entry makes the fault unnecessary before a new value is built. */
function isSpurious(mmu: TdpMmu, fault: KvmPageFault, iter: TdpIter): boolean {
  const { oldSpte, level } = iter;
  if (!isShadowPresentPte(oldSpte)) return false;
  const leaf = isLastSpte(oldSpte, level);
  if (fault.prefetch && (leaf || mmu.format.rules.tdpPrefetchSpurious === "present")) return true;
  return leaf && isAccessAllowed(mmu.format, fault, oldSpte);
}

interface NewLeaf {
  readonly spte: Spte;
  readonly wrprot: boolean;
}

/** `make_spte` for a direct mapping; marks the page dirty in its slot's log if W is granted under dirty logging. */
function makeLeaf(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, iter: TdpIter): NewLeaf {
  const role = spRole(cpu, sptepToSp(mmu, cpu, iter.sptep));
  const { slot, gfn } = fault;
  const result = makeSpte(mmu.format, {
    level: iter.level,
    adDisabled: roleAdDisabled(role),
    guestMode: roleGuestMode(role),
    cpuDirtyLog: mmu.options.cpuDirtyLog,
    pteAccess: mmu.format.rules.accAll,
    gfn,
    pfn: fault.pfn,
    oldSpte: iter.oldSpte,
    prefetch: fault.prefetch,
    synchronizing: false,
    hostWritable: fault.mapWritable,
    slotDirtyLogging: kvmSlotDirtyTrackEnabled(cpu, slot),
    nxHugePageMitigation: isNxHugePageEnabled(mmu),
    isMmioPfn: false,
    memoryType: EPT_MEMORY_TYPE_WB_IPAT,
    tryToUnsyncPages: () =>
      mmu.shadowPages.tryToUnsyncPages(cpu, mmu.memslots, slot, gfn, false, fault.prefetch),
  });
  // Before the entry becomes visible: a page is never writable without its bit in the log.
  if (result.markSlotDirty) markPageDirtyInSlot(cpu, slot, gfn);
  return result;
}

/** The value that caches "no memslot here", tagged with the memslot generation. */
function makeNoSlotSpte(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, iter: TdpIter): NewLeaf {
  const role = spRole(cpu, sptepToSp(mmu, cpu, iter.sptep));
  const access = roleAccess(mmu.format.rules, role);
  const generation = mmu.memslots.generation(cpu, iter.asId);
  return { spte: makeMmioSpte(mmu.format, fault.gfn, access, generation), wrprot: false };
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
  leaf: NewLeaf,
  spurious: boolean,
): RetPf {
  if (leaf.wrprot && fault.write) return RetPf.writeProtected;
  if (isMmioSpte(mmu.format, leaf.spte)) {
    cpu.fetchAdd32(mmu.statisticWord("pf_mmio_spte_created"), 1, "relaxed");
    if (cpu.tracing) traceMarkMmioSpte(cpu, iter.sptep, iter.gfn, leaf.spte);
    return RetPf.emulate;
  }
  if (cpu.tracing) {
    traceKvmMmuSetSpte(cpu, iter.level, iter.gfn, iter.sptep, kvmTdpMmuReadSpte(cpu, iter.sptep));
  }
  return spurious ? RetPf.spurious : RetPf.fixed;
}

/**
 * `tdp_mmu_map_handle_target_level`: installs the leaf for a fault at the iterator's entry, which is at the goal level. A lost
 * compare-exchange means that another fault or a zap was first: the guest tries again.
 */
export function tdpMmuMapHandleTargetLevel(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, iter: TdpIter): RetPf {
  if (isSpurious(mmu, fault, iter)) return RetPf.spurious;
  const oldSpte = iter.oldSpte;
  const leaf =
    fault.slot === NULL_SLOT ? makeNoSlotSpte(mmu, cpu, fault, iter) : makeLeaf(mmu, cpu, fault, iter);
  const spurious = leaf.spte === oldSpte;
  if (!spurious) {
    if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, leaf.spte)) return RetPf.retry;
    flushReplaced(mmu, cpu, iter, oldSpte, leaf.spte, iter.level);
  }
  return resultOf(mmu, cpu, fault, iter, leaf, spurious);
}
