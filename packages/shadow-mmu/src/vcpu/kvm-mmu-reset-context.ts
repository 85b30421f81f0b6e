import type { Cpu } from "@kvm-age/machine";
import type { GuestPagingRegisters } from "../role/guest-paging-registers.js";
import { kvmMmuUnload } from "../root/kvm-mmu-unload.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmInitMmu } from "./kvm-init-mmu.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/**
 * `kvm_mmu_reset_context`: the guest changed its paging mode (CR0, CR4, EFER): frees every root of the vCPU and sets the context up
 * anew. The next entry loads a root.
 *
 * @returns false if a PDPTE is invalid: #GP, and the context keeps its mode
 * @throws ShadowMmuConfigError as `kvmInitMmu`
 */
export function kvmMmuResetContext(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  registers: GuestPagingRegisters,
): boolean {
  kvmMmuUnload(mmu, cpu, vcpu);
  return kvmInitMmu(mmu, cpu, vcpu, registers);
}
