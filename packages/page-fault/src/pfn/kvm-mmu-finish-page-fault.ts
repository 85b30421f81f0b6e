import type { Cpu } from "@kvm-age/machine";
import { NULL_SLOT, type PrimaryMmu, type ReleaseHow } from "@kvm-age/memslot";
import type { Pfn } from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import { RetPf } from "../fault/ret-pf.js";

/** What the host learns about the page now, since zapping and aging will tell it nothing. */
function releaseHow(result: RetPf, fault: KvmPageFault): ReleaseHow {
  if (result === RetPf.retry) return "unused";
  return fault.mapWritable ? "dirty" : "clean";
}

/**
 * `kvm_mmu_finish_page_fault`: gives the page of `faultinPfn` back to the host. Under `mmu_lock`: an invalidation that waits for the
 * lock then finds no reference of KVM's.
 *
 * @param pfn the page that was looked up; `fault.pfn` may be the start of the huge page by now
 */
export function kvmMmuFinishPageFault(
  cpu: Cpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
  pfn: Pfn,
  result: RetPf,
): void {
  if (fault.slot !== NULL_SLOT) primary.releasePage(cpu, pfn, releaseHow(result, fault));
}
