import type { Address, Cpu } from "@kvm-age/machine";
import type { ShadowMmuVcpu } from "@kvm-age/shadow-mmu";
import type { PageFaultResult } from "@kvm-age/vcpu";
import type { VcpuRoots } from "./vcpu-roots.js";

/** A vCPU that runs L1 under the TDP MMU and L2 under the shadow MMU: which of them is the shadow MMU's current context to say. */
export class NestedRoots implements VcpuRoots {
  constructor(
    private readonly l1: VcpuRoots,
    private readonly l2: VcpuRoots,
    private readonly vcpu: ShadowMmuVcpu,
  ) {}

  rootHpa(cpu: Cpu): Address {
    return this.current(cpu).rootHpa(cpu);
  }

  load(cpu: Cpu): void {
    this.current(cpu).load(cpu);
  }

  /** Roots of both may have become obsolete. */
  handleRequests(cpu: Cpu, requests: number): void {
    this.l1.handleRequests(cpu, requests);
    this.l2.handleRequests(cpu, requests);
  }

  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    return this.current(cpu).handlePageFault(cpu, address, errorCode);
  }

  private current(cpu: Cpu): VcpuRoots {
    return this.vcpu.current(cpu) === this.vcpu.guestMmu ? this.l2 : this.l1;
  }
}
