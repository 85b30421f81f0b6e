import type { Address, Cpu } from "@kvm-age/machine";
import type { PrimaryMmu } from "@kvm-age/memslot";
import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import {
  handleMmuRequests,
  kvmMmuLoad,
  kvmTdpMmuPageFault,
  type TdpMmu,
  type TdpMmuVcpu,
} from "@kvm-age/tdp-mmu";
import type { PageFaultResult } from "@kvm-age/vcpu";
import { failedFault } from "./fault-errno.js";
import type { VcpuRoots } from "./vcpu-roots.js";

/** The bits of an error code that a number holds; KVM defines none above. */
const ERROR_CODE_BITS = 53;

/** A vCPU under the TDP MMU. */
export class TdpRoots implements VcpuRoots {
  constructor(
    private readonly tdp: TdpMmu,
    private readonly vcpu: TdpMmuVcpu,
    private readonly primary: PrimaryMmu,
  ) {}

  rootHpa(cpu: Cpu): Address {
    return cpu.readOnce32(this.vcpu.rootHpaWord) as Address;
  }

  load(cpu: Cpu): void {
    kvmMmuLoad(this.tdp, cpu, this.vcpu);
  }

  handleRequests(cpu: Cpu, requests: number): void {
    handleMmuRequests(this.tdp, cpu, this.vcpu, requests);
  }

  handlePageFault(cpu: Cpu, gpa: number, errorCode: bigint): PageFaultResult {
    const fault = new KvmPageFault(gpa, Number(BigInt.asUintN(ERROR_CODE_BITS, errorCode)), false);
    const result = kvmTdpMmuPageFault(this.tdp, cpu, this.vcpu, this.primary, fault);
    if (result === RetPf.error) return failedFault(fault.errno);
    return result === RetPf.emulate || result === RetPf.writeProtected ? "emulate" : "retry";
  }
}
