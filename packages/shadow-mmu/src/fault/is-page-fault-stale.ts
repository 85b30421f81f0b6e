import { type Cpu, memberRequestsWord } from "@kvm-age/machine";
import { mmuInvalidateRetryGfn, NULL_SLOT } from "@kvm-age/memslot";
import type { KvmPageFault } from "@kvm-age/page-fault";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import { NO_PAGE } from "../page/kvm-mmu-page.js";
import { rootSp } from "../root/root-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";

/** Whether the vCPU's root is obsolete. A root without a page of its own is taken for obsolete while that is being asked for. */
function isRootObsolete(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): boolean {
  const sp = rootSp(mmu, cpu, vcpu.current(cpu));
  if (sp !== NO_PAGE) return isObsoleteSp(mmu, cpu, sp);
  const requests = cpu.readOnce32(memberRequestsWord(mmu.flushDomain, vcpu.id));
  return (requests & REQUEST_MMU_FREE_OBSOLETE_ROOTS) !== 0;
}

/**
 * `is_page_fault_stale`: the vCPU's root went, or the host changed its mapping of the page since it was looked up. Held: `mmu_lock`, so
 * that the answer stands until the page is mapped.
 */
export function isPageFaultStale(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
): boolean {
  if (isRootObsolete(mmu, cpu, vcpu)) return true;
  return fault.slot !== NULL_SLOT && mmuInvalidateRetryGfn(mmu.memslots, cpu, fault.mmuSeq, fault.gfn);
}
