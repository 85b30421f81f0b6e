import type { Cpu } from "@kvm-age/machine";
import { kvmMmuFaultinPfn, NULL_SLOT, type PrimaryMmu } from "@kvm-age/memslot";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import { RetPf } from "../fault/ret-pf.js";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";

/** `kvm_handle_noslot_fault`: outside every slot the access is emulated, now or through a cached MMIO entry. */
function handleNoslotFault(mmu: FaultingMmu, fault: KvmPageFault): RetPf {
  fault.slot = NULL_SLOT;
  fault.mapWritable = false;
  const cacheable = mmu.format.enableMmioCaching && fault.gfn < mmu.maxGfnExclusive;
  return cacheable ? RetPf.continue : RetPf.emulate;
}

/**
 * `kvm_mmu_faultin_pfn`: finds the host page of a fault, or says why not. Sleeps. Held: `kvm->srcu`; never `mmu_lock`.
 *
 * @returns `continue` with `pfn`, `mapWritable` and `mmuSeq` filled in and a reference to the page, which
 * `kvmMmuFinishPageFault` gives back; `continue` with no slot if an MMIO entry is to be made; `retry`; `emulate`; or `error`, with
 * the reason in `errno`
 */
export function faultinPfn(mmu: FaultingMmu, cpu: Cpu, primary: PrimaryMmu, fault: KvmPageFault): RetPf {
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
