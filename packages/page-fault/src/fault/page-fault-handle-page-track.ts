import type { Cpu } from "@kvm-age/machine";
import { kvmGfnIsWriteTracked } from "@kvm-age/memslot";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";
import type { KvmPageFault } from "./kvm-page-fault.js";

/**
 * `page_fault_handle_page_track`: a write to a present page that must be emulated because the page is write-tracked. Looks
 * without `mmu_lock`; whoever maps the page writable asks again under it.
 */
export function pageFaultHandlePageTrack(mmu: FaultingMmu, cpu: Cpu, fault: KvmPageFault): boolean {
  if (fault.rsvd || !fault.present || !fault.write) return false;
  return kvmGfnIsWriteTracked(mmu.memslots, cpu, fault.slot, fault.gfn);
}
