import { type Address, type Cpu, memberRequestsWord, REQUEST_TLB_FLUSH } from "@kvm-age/machine";
import {
  type AccessKind,
  attachVcpu,
  PAGING_OFF,
  type PageFaultResult,
  type Vcpu,
  type VcpuHandle,
  type VcpuMmu,
} from "@kvm-age/vcpu";
import type { VcpuRoots } from "../../vm/vcpu-roots.js";
import type { ModelVm } from "./model-vm.js";

/** The model's hardware faulted where the kernel's did not. */
export class UnexpectedFaultError extends Error {
  override readonly name = "UnexpectedFaultError";

  constructor(
    readonly address: number,
    readonly errorCode: bigint,
  ) {
    super(
      `the model faults at 0x${address.toString(16)}, error code 0x${errorCode.toString(16)}; the kernel did not`,
    );
  }
}

/**
 * A vCPU of the model. Faults are delivered by the trace, so hardware that faults by itself is a mismatch. It caches no translation: the
 * processors that the traces come from do not either, or cannot be known to.
 */
export class ModelVcpu implements VcpuMmu {
  private readonly hardware: Vcpu;

  constructor(
    private readonly vm: ModelVm,
    private readonly handle: VcpuHandle,
    readonly roots: VcpuRoots,
    private readonly dropRoots: () => void,
  ) {
    this.hardware = attachVcpu(vm.machine, handle, { mmu: this });
  }

  /** The guest runs in long mode with the page tables at `cr3`. */
  startPaging(cpu: Cpu, cr3: number): void {
    this.hardware.setGuestPaging(cpu, { ...PAGING_OFF, mode: "4-level", cr3, cr0Wp: true, eferNx: true });
  }

  /** `vcpu_enter_guest` up to the guest: requests are served, and a root is loaded if there is none. */
  enter(cpu: Cpu): void {
    const requests = cpu.xchg32(memberRequestsWord(this.handle.flushDomain, this.handle.member), 0, "full");
    const forMmu = (requests & ~REQUEST_TLB_FLUSH) >>> 0;
    this.vm.inSrcu(() => {
      if (forMmu !== 0) this.roots.handleRequests(cpu, forMmu);
      this.roots.load(cpu);
    });
  }

  /** Hands a fault to the MMU, as the exit handler does. */
  fault(cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    return this.vm.inSrcu(() => this.roots.handlePageFault(cpu, address, errorCode));
  }

  /**
   * An access of the guest that does not fault: the hardware walks and sets Accessed and Dirty.
   *
   * @throws UnexpectedFaultError if it does.
   */
  access(cpu: Cpu, address: number, kind: AccessKind): void {
    this.hardware.flushTlb(cpu);
    try {
      this.hardware.access(cpu, address, kind);
    } finally {
      this.hardware.exitGuest(cpu);
    }
  }

  /** The vCPU goes: its roots are dropped (`kvm_mmu_unload`). */
  unload(): void {
    this.vm.inSrcu(this.dropRoots);
  }

  rootHpa(cpu: Cpu): Address {
    return this.roots.rootHpa(cpu);
  }

  load(cpu: Cpu): void {
    this.vm.inSrcu(() => this.roots.load(cpu));
  }

  handleRequests(cpu: Cpu, requests: number): void {
    this.vm.inSrcu(() => this.roots.handleRequests(cpu, requests));
  }

  handlePageFault(_cpu: Cpu, address: number, errorCode: bigint): PageFaultResult {
    throw new UnexpectedFaultError(address, errorCode);
  }
}
