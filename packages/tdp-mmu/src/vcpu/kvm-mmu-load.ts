import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import { roleInvalid } from "@kvm-age/spte";
import { type KvmMmuPage, spRole } from "../page/kvm-mmu-page.js";
import { kvmTdpMmuAllocRoot, kvmTdpMmuFreeRoot, rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "./tdp-mmu-vcpu.js";

/** `kvm_mmu_load`: gives a vCPU without a root one. The caller flushes its TLB before it enters the guest. */
export function kvmMmuLoad(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  if (cpu.readOnce32(vcpu.rootHpaWord) !== NULL_ADDRESS) return;
  vcpu.topUpMemoryCaches(cpu);
  kvmTdpMmuAllocRoot(mmu, cpu, vcpu);
}

/** `kvm_mmu_unload`: takes the vCPU's root away. */
export function kvmMmuUnload(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  kvmTdpMmuFreeRoot(mmu, cpu, vcpu);
}

/**
 * The vCPU enters a nested guest that has no nested two-dimensional paging, or leaves it: its root goes, and the next `kvmMmuLoad` takes the
 * one of the other role. Roots are pinned by the TDP MMU, so coming back finds the old one as it was left.
 */
export function kvmMmuSwitchGuestMode(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, guestMode: boolean): void {
  kvmTdpMmuFreeRoot(mmu, cpu, vcpu);
  cpu.writeOnce32(vcpu.guestModeWord, guestMode ? 1 : 0);
}

/** `is_obsolete_root` for a TDP root: it was invalidated. */
export function isObsoleteRoot(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): boolean {
  return root !== NULL_ADDRESS && roleInvalid(mmu.format.rules, spRole(cpu, root));
}

/** `kvm_mmu_free_obsolete_roots`: drops the vCPU's root if it was invalidated. */
export function kvmMmuFreeObsoleteRoots(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu): void {
  if (isObsoleteRoot(mmu, cpu, rootOfVcpu(mmu, cpu, vcpu))) kvmTdpMmuFreeRoot(mmu, cpu, vcpu);
}

/** The TDP MMU's part of request handling before a guest entry. `requests` is what was pending. */
export function handleMmuRequests(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, requests: number): void {
  if ((requests & REQUEST_MMU_FREE_OBSOLETE_ROOTS) !== 0) kvmMmuFreeObsoleteRoots(mmu, cpu, vcpu);
}
