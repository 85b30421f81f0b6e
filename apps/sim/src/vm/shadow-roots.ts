import type { Address, Cpu } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import {
  type GuestFault,
  handleShadowMmuRequests,
  kvmMmuLoad,
  kvmShadowMmuPageFault,
  type ShadowMmu,
  type ShadowMmuVcpu,
} from "@kvm-age/shadow-mmu";
import { injectPageFault, type PageFaultResult, type VcpuHandle } from "@kvm-age/vcpu";
import { failedFault } from "./fault-errno.js";
import type { VcpuRoots } from "./vcpu-roots.js";

/** Thrown when a vCPU cannot get a root because roots use up the quota of shadow pages. */
export class ShadowPageQuotaError extends Error {
  override readonly name = "ShadowPageQuotaError";

  constructor(readonly vcpu: number) {
    super(`vCPU ${vcpu} got no root: the quota of shadow pages is used up by roots (ENOSPC)`);
  }
}

/** A vCPU under the shadow MMU: any context that it has. */
export class ShadowRoots implements VcpuRoots {
  /** The fault of a nested guest that its hypervisor must handle, if the last access ended in one. */
  nestedFault: GuestFault | null = null;

  constructor(
    private readonly shadow: ShadowMmu,
    private readonly vcpu: ShadowMmuVcpu,
    private readonly hardware: VcpuHandle,
  ) {}

  rootHpa(cpu: Cpu): Address {
    return this.vcpu.current(cpu).rootHpa(cpu);
  }

  load(cpu: Cpu): void {
    if (!kvmMmuLoad(this.shadow, cpu, this.vcpu)) throw new ShadowPageQuotaError(this.vcpu.id);
  }

  handleRequests(cpu: Cpu, requests: number): void {
    handleShadowMmuRequests(this.shadow, cpu, this.vcpu, requests);
  }

  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    const result = kvmShadowMmuPageFault(this.shadow, cpu, this.vcpu, address, errorCode);
    if (result.guestFault !== null) return this.reflect(cpu, address, result.guestFault);
    if (result.ret === RetPf.error) return failedFault(result.errno);
    return result.ret === RetPf.emulate ? "emulate" : "retry";
  }

  /** Hands a fault to whoever made the guest tables: the guest, or L1 by an exit of L2, which ends the access. */
  private reflect(cpu: Cpu, address: number, fault: GuestFault): PageFaultResult {
    if (this.vcpu.current(cpu) === this.vcpu.guestMmu) {
      this.nestedFault = fault;
      return "emulate";
    }
    injectPageFault(cpu, this.hardware, { gva: address, errorCode: fault.errorCode });
    return "inject";
  }
}
