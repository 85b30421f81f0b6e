import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";

/**
 * `page_fault_can_be_fast`: a fault that an entry's own bits may answer: a write to a present page, or, without hardware A/D
 * bits, an access to a page whose permissions aging has hidden.
 */
export function pageFaultCanBeFast(mmu: FaultingMmu, fault: KvmPageFault): boolean {
  if (fault.rsvd) return false;
  if (!fault.present) return !mmu.format.kvmAdEnabled;
  return fault.write;
}
