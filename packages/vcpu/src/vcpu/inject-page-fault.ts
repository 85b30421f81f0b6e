import type { Cpu } from "@kvm-age/machine";
import { type GuestPageFault, queueGuestFault } from "../fault/last-guest-fault.js";
import type { VcpuHandle } from "./vcpu-handle.js";
import { lastGuestFaultOf } from "./vcpu-state.js";

/**
 * `kvm_inject_page_fault`: queues a #PF for the guest, while the vCPU is outside it. The access that faulted ends with it once
 * `VcpuMmu.handlePageFault` answers "inject".
 */
export function injectPageFault(cpu: Cpu, handle: VcpuHandle, fault: GuestPageFault): void {
  queueGuestFault(cpu, lastGuestFaultOf(handle.state), fault);
}
