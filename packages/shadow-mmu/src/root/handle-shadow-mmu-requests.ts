import type { Cpu } from "@kvm-age/machine";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS, REQUEST_MMU_SYNC } from "@kvm-age/page-fault";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMmuSyncRoots } from "../unsync/kvm-mmu-sync-roots.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { kvmMmuFreeObsoleteRoots } from "./kvm-mmu-free-obsolete-roots.js";

/**
 * The shadow MMU's part of request handling before a guest entry (`vcpu_enter_guest`), in the kernel's order. Held: SRCU.
 *
 * @param requests what was pending, and has been taken off
 */
export function handleShadowMmuRequests(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  requests: number,
): void {
  if ((requests & REQUEST_MMU_FREE_OBSOLETE_ROOTS) !== 0) kvmMmuFreeObsoleteRoots(mmu, cpu, vcpu);
  if ((requests & REQUEST_MMU_SYNC) !== 0) kvmMmuSyncRoots(mmu, cpu, vcpu);
}
