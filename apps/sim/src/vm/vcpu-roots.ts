import type { Address, Cpu } from "@kvm-age/machine";
import type { PageFaultResult } from "@kvm-age/vcpu";

/** One MMU's side of a vCPU, as the hardware's calls need it. Held by the caller: `kvm->srcu`, except for `rootHpa`. */
export interface VcpuRoots {
  /** The frame hardware walks from, 0 for none. */
  rootHpa(cpu: Cpu): Address;
  /** Gives the vCPU a root. */
  load(cpu: Cpu): void;
  /** Serves the MMU's requests. */
  handleRequests(cpu: Cpu, requests: number): void;
  /** Handles a fault; `errorCode` in PFERR form. */
  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult;
}
