import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/** L2 is entered: `guest_mmu` becomes the context in use. The roots of both contexts stay loaded. */
export function loadNestedMmu(cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  cpu.writeOnce32(vcpu.currentWord, vcpu.guestMmu.address);
}

/** L2 was left (`nested_ept_uninit_mmu_context`, `nested_svm_uninit_mmu_context`): `root_mmu` is in use again. */
export function loadRootMmu(cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  cpu.writeOnce32(vcpu.currentWord, vcpu.rootMmu.address);
}
