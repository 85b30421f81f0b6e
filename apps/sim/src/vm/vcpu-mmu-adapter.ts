import type { Address, Cpu, Srcu } from "@kvm-age/machine";
import type { PageFaultResult, VcpuMmu } from "@kvm-age/vcpu";
import { type Latencies, nowNs } from "./latencies.js";
import type { VcpuRoots } from "./vcpu-roots.js";

/** Told of every fault before it is handled. */
export interface FaultObserver {
  count(cpu: Cpu, address: number): void;
}

/** Nobody to tell. */
export const noFaultObserver: FaultObserver = { count(): void {} };

/**
 * What one vCPU's hardware sees of KVM: `vcpu_enter_guest` around an MMU. Whatever it asks for is done inside a read section of
 * `kvm->srcu`, as in the kernel, where a vCPU holds it whenever it is outside the guest. Faults are timed.
 */
export class VcpuMmuAdapter implements VcpuMmu {
  constructor(
    private readonly roots: VcpuRoots,
    private readonly srcu: Srcu,
    private readonly latencies: Latencies,
    private readonly faults: FaultObserver,
  ) {}

  rootHpa(cpu: Cpu): Address {
    return this.roots.rootHpa(cpu);
  }

  load(cpu: Cpu): void {
    const index = cpu.srcuReadLock(this.srcu);
    this.roots.load(cpu);
    cpu.srcuReadUnlock(this.srcu, index);
  }

  handleRequests(cpu: Cpu, requests: number): void {
    const index = cpu.srcuReadLock(this.srcu);
    this.roots.handleRequests(cpu, requests);
    cpu.srcuReadUnlock(this.srcu, index);
  }

  handlePageFault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    this.faults.count(cpu, address);
    const start = nowNs();
    const index = cpu.srcuReadLock(this.srcu);
    const result = this.roots.handlePageFault(cpu, address, errorCode);
    cpu.srcuReadUnlock(this.srcu, index);
    this.latencies.fault.record(nowNs() - start);
    return result;
  }
}
