import type { Cpu } from "@kvm-age/machine";
import { mmuInvalidateRetryGfn, NULL_SLOT, type PrimaryMmu } from "@kvm-age/memslot";
import {
  countPageFaultResult,
  fastPageFault,
  faultinPfn,
  handleMmioPageFault,
  type KvmPageFault,
  kvmMmuFinishPageFault,
  kvmMmuHugepageAdjust,
  pageFaultHandlePageTrack,
  RetPf,
} from "@kvm-age/page-fault";
import { kvmTdpMmuMap } from "../map/kvm-tdp-mmu-map.js";
import { rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { isObsoleteRoot } from "../vcpu/kvm-mmu-load.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";

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
  kvmMmuFinishPageFault(cpu, primary, fault, pfn, result);
  cpu.readUnlock(mmu.mmuLock);
  return result;
}

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
  cpu.fetchAdd32(mmu.statistics.word("pf_taken"), 1, "relaxed");
  const asId = cpu.readOnce32(vcpu.inSmmWord);
  fault.slot = mmu.memslots.gfnToMemslot(cpu, asId, fault.gfn);
  const result = handleFault(mmu, cpu, vcpu, primary, fault, asId);
  countPageFaultResult(mmu.statistics, cpu, result);
  return result;
}

function handleFault(
  mmu: TdpMmu,
  cpu: Cpu,
  vcpu: TdpMmuVcpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
  asId: number,
): RetPf {
  if (fault.rsvd) {
    const cached = handleMmioPageFault(mmu, cpu, fault, vcpu.locklessWalk, asId, true);
    if (cached !== RetPf.invalid) return cached;
  }
  if (pageFaultHandlePageTrack(mmu, cpu, fault)) return RetPf.writeProtected;
  const fast = fastPageFault(mmu, cpu, vcpu.id, fault, vcpu.locklessWalk);
  if (fast !== RetPf.invalid) return fast;
  vcpu.topUpMemoryCaches(cpu);
  const found = faultinPfn(mmu, cpu, primary, fault);
  if (found !== RetPf.continue) return found;
  return mapUnderLock(mmu, cpu, vcpu, primary, fault);
}
