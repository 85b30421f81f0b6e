import type { Cpu } from "@kvm-age/machine";
import {
  kvmGfnIsWriteTracked,
  kvmMmuFaultinPfn,
  mmuInvalidateRetryGfn,
  NULL_SLOT,
  type PrimaryMmu,
  type ReleaseHow,
} from "@kvm-age/memslot";
import { kvmTdpMmuMap } from "../map/kvm-tdp-mmu-map.js";
import { rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import type { TdpMmu, TdpStatistic } from "../tdp-mmu.js";
import { isObsoleteRoot } from "../vcpu/kvm-mmu-load.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { fastPageFault } from "./fast-page-fault.js";
import { handleMmioPageFault } from "./handle-mmio-page-fault.js";
import { kvmMmuHugepageAdjust } from "./hugepage-adjust.js";
import type { KvmPageFault } from "./kvm-page-fault.js";
import { RetPf } from "./ret-pf.js";

/** `page_fault_handle_page_track`: a write that must be emulated because the page is write-tracked. */
function isTrackedWrite(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault): boolean {
  if (fault.rsvd || !fault.present || !fault.write || fault.slot === NULL_SLOT) return false;
  return kvmGfnIsWriteTracked(mmu.memslots, cpu, fault.slot, fault.gfn);
}

/** `kvm_handle_noslot_fault`: outside every slot the access is emulated, now or through a cached MMIO entry. */
function handleNoslotFault(mmu: TdpMmu, fault: KvmPageFault): RetPf {
  fault.slot = NULL_SLOT;
  fault.mapWritable = false;
  const cacheable = mmu.format.enableMmioCaching && fault.gfn < mmu.maxGfnExclusive;
  return cacheable ? RetPf.continue : RetPf.emulate;
}

/** `kvm_mmu_faultin_pfn`: finds the host page, with a reference, or says why not. Sleeps. */
function faultinPfn(mmu: TdpMmu, cpu: Cpu, primary: PrimaryMmu, fault: KvmPageFault): RetPf {
  const found = kvmMmuFaultinPfn(mmu.memslots, cpu, primary, fault);
  fault.mmuSeq = found.mmuSeq;
  fault.errno = found.errno;
  switch (found.outcome) {
    case "continue":
      fault.pfn = found.pfn;
      fault.mapWritable = found.mapWritable;
      return RetPf.continue;
    case "retry":
      return RetPf.retry;
    case "emulate":
      return RetPf.emulate;
    case "no-slot":
      return handleNoslotFault(mmu, fault);
    case "error":
      return RetPf.error;
  }
}

/** `is_page_fault_stale`: the root went, or the host changed its mapping since the page was looked up. */
function isPageFaultStale(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault): boolean {
  if (isObsoleteRoot(mmu, cpu, rootOfVcpu(mmu, cpu, vcpu))) return true;
  return fault.slot !== NULL_SLOT && mmuInvalidateRetryGfn(mmu.memslots, cpu, fault.mmuSeq, fault.gfn);
}

/** The part under `mmu_lock`: the decisive check, then the mapping. */
function mapUnderLock(
  mmu: TdpMmu,
  cpu: Cpu,
  vcpu: TdpMmuVcpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
): RetPf {
  cpu.readLock(mmu.mmuLock);
  let result: RetPf = RetPf.retry;
  const pfn = fault.pfn;
  if (!isPageFaultStale(mmu, cpu, vcpu, fault)) {
    kvmMmuHugepageAdjust(mmu, cpu, primary, fault);
    result = kvmTdpMmuMap(mmu, cpu, vcpu, fault);
  }
  if (fault.slot !== NULL_SLOT) primary.releasePage(cpu, pfn, releaseHow(result, fault));
  cpu.readUnlock(mmu.mmuLock);
  return result;
}

/** `kvm_mmu_finish_page_fault`: what the host learns about the page now, since zapping and aging will tell it nothing. */
function releaseHow(result: RetPf, fault: KvmPageFault): ReleaseHow {
  if (result === RetPf.retry) return "unused";
  return fault.mapWritable ? "dirty" : "clean";
}

const STATISTIC_OF_RESULT: Readonly<Partial<Record<RetPf, TdpStatistic>>> = {
  [RetPf.fixed]: "pf_fixed",
  [RetPf.spurious]: "pf_spurious",
  [RetPf.emulate]: "pf_emulate",
  [RetPf.retry]: "pf_retry",
};

/**
 * `kvm_tdp_page_fault`: handles one fault of a vCPU, which is outside the guest, holds `kvm->srcu` and has a root. `slot` lookup
 * uses the vCPU's address space. `RetPf.error` leaves the reason in `fault.errno`.
 */
export function kvmTdpMmuPageFault(
  mmu: TdpMmu,
  cpu: Cpu,
  vcpu: TdpMmuVcpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
): RetPf {
  cpu.fetchAdd32(mmu.statisticWord("pf_taken"), 1, "relaxed");
  const asId = cpu.readOnce32(vcpu.inSmmWord);
  fault.slot = mmu.memslots.gfnToMemslot(cpu, asId, fault.gfn);
  const result = handleFault(mmu, cpu, vcpu, primary, fault);
  const statistic = STATISTIC_OF_RESULT[result];
  if (statistic !== undefined) cpu.fetchAdd32(mmu.statisticWord(statistic), 1, "relaxed");
  return result;
}

function handleFault(
  mmu: TdpMmu,
  cpu: Cpu,
  vcpu: TdpMmuVcpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
): RetPf {
  if (fault.rsvd) {
    const cached = handleMmioPageFault(mmu, cpu, vcpu, fault);
    if (cached !== RetPf.invalid) return cached;
  }
  if (isTrackedWrite(mmu, cpu, fault)) return RetPf.writeProtected;
  const fast = fastPageFault(mmu, cpu, vcpu, fault);
  if (fast !== RetPf.invalid) return fast;
  vcpu.topUpMemoryCaches(cpu);
  const found = faultinPfn(mmu, cpu, primary, fault);
  if (found !== RetPf.continue) return found;
  return mapUnderLock(mmu, cpu, vcpu, primary, fault);
}
