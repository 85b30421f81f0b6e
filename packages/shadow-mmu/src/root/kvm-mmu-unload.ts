import type { Cpu } from "@kvm-age/machine";
import { vcpuClearMmioInfo } from "../fault/mmio-cache.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { KVM_MMU_ROOTS_ALL, kvmMmuFreeRoots } from "./kvm-mmu-free-roots.js";

/** `kvm_mmu_unload`: drops every root of both contexts. Held: SRCU, not `mmu_lock`. */
export function kvmMmuUnload(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  kvmMmuFreeRoots(mmu, cpu, vcpu, vcpu.rootMmu, KVM_MMU_ROOTS_ALL);
  kvmMmuFreeRoots(mmu, cpu, vcpu, vcpu.guestMmu, KVM_MMU_ROOTS_ALL);
  vcpuClearMmioInfo(cpu, vcpu, null);
}
