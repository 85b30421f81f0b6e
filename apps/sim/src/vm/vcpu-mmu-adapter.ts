import type { Address, Cpu } from "@kvm-age/machine";
import { KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { handleMmuRequests, kvmMmuLoad, kvmTdpMmuPageFault, type TdpMmuVcpu } from "@kvm-age/tdp-mmu";
import { FAULT_ERRNO, type FaultErrno, type PageFaultResult, type VcpuMmu } from "@kvm-age/vcpu";
import type { Kvm } from "../kvm.js";
import { type Latencies, nowNs } from "./latencies.js";

const LOW_32_BITS = 0xffffffffn;

function isFaultErrno(name: string): name is FaultErrno {
  return name in FAULT_ERRNO;
}

/** Told of every fault before it is handled. */
export interface FaultObserver {
  count(cpu: Cpu, gpa: number): void;
}

/** Nobody to tell. */
export const noFaultObserver: FaultObserver = { count(): void {} };

/**
 * What one vCPU's hardware sees of KVM: `vcpu_enter_guest` around the TDP MMU. A fault is handled inside a read section of
 * `kvm->srcu`, as in the kernel, where a vCPU holds it whenever it is outside the guest.
 */
export class VcpuMmuAdapter implements VcpuMmu {
  constructor(
    private readonly kvm: Kvm,
    private readonly vcpu: TdpMmuVcpu,
    private readonly latencies: Latencies,
    private readonly faults: FaultObserver,
  ) {}

  rootHpa(cpu: Cpu): Address {
    return cpu.readOnce32(this.vcpu.rootHpaWord) as Address;
  }

  load(cpu: Cpu): void {
    kvmMmuLoad(this.kvm.tdp, cpu, this.vcpu);
  }

  handleRequests(cpu: Cpu, requests: number): void {
    handleMmuRequests(this.kvm.tdp, cpu, this.vcpu, requests);
  }

  handlePageFault(cpu: Cpu, gpa: number, errorCode: bigint): PageFaultResult {
    this.faults.count(cpu, gpa);
    const start = nowNs();
    const { srcu } = this.kvm.memslots.locks;
    const fault = new KvmPageFault(gpa, Number(errorCode & LOW_32_BITS), false);
    const index = cpu.srcuReadLock(srcu);
    const result = kvmTdpMmuPageFault(this.kvm.tdp, cpu, this.vcpu, this.kvm.primary, fault);
    cpu.srcuReadUnlock(srcu, index);
    this.latencies.fault.record(nowNs() - start);
    if (result === RetPf.error) {
      return { errno: fault.errno !== null && isFaultErrno(fault.errno) ? fault.errno : "EFAULT" };
    }
    return result === RetPf.emulate || result === RetPf.writeProtected ? "emulate" : "retry";
  }
}
