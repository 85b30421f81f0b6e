import type { Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import { faultinPfn, type KvmPageFault, RetPf } from "@kvm-age/page-fault";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { vcpuCacheMmioInfo } from "./mmio-cache.js";

/**
 * `kvm_mmu_faultin_pfn`: `faultinPfn`, and the vCPU remembers an access outside every slot. Sleeps. Held: `kvm->srcu`; never `mmu_lock`.
 *
 * @param access what the guest's own translation allows, in the rule set's access bits
 */
export function shadowFaultinPfn(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
  access: number,
): RetPf {
  const result = faultinPfn(mmu, cpu, mmu.host, fault);
  const outside = fault.slot === NULL_SLOT && (result === RetPf.continue || result === RetPf.emulate);
  if (outside) {
    const cached = access & Number(mmu.format.shadowMmioAccessMask);
    // Where the hardware walks two dimensions, the faulting address is no linear one.
    vcpuCacheMmioInfo(mmu, cpu, vcpu, mmu.tdpEnabled ? 0 : fault.addr, fault.gfn, cached);
  }
  return result;
}
