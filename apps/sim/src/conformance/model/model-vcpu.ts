import {
  type Address,
  type Cpu,
  memberRequestsWord,
  NULL_ADDRESS,
  REQUEST_TLB_FLUSH,
} from "@kvm-age/machine";
import {
  createShadowMmuVcpu,
  type GuestPagingRegisters,
  initKvmNestedMmu,
  kvmInitMmu,
  kvmInitShadowEptMmu,
  kvmInitShadowNptMmu,
  loadRootMmu,
  type ShadowMmuVcpu,
  kvmMmuUnload as unloadShadow,
  walkMmuGvaToGpa,
} from "@kvm-age/shadow-mmu";
import {
  createTdpMmuVcpu,
  kvmMmuSwitchGuestMode,
  type TdpMmuVcpu,
  kvmMmuUnload as unloadTdp,
} from "@kvm-age/tdp-mmu";
import {
  type AccessKind,
  attachVcpu,
  PAGING_OFF,
  type PageFaultResult,
  type Vcpu,
  type VcpuHandle,
  type VcpuMmu,
} from "@kvm-age/vcpu";
import { NestedRoots } from "../../vm/nested-roots.js";
import { ShadowRoots } from "../../vm/shadow-roots.js";
import { TdpRoots } from "../../vm/tdp-roots.js";
import type { VcpuRoots } from "../../vm/vcpu-roots.js";
import type { ModelVm } from "./model-vm.js";
import { UnexpectedFaultError } from "./unexpected-fault-error.js";

// EPTP: write-back, four levels, and A/D maintained.
const EPTP_WRITE_BACK_4_LEVELS = 0x1e;
const EPTP_AD_ENABLE = 0x40;

/**
 * A vCPU of the model. Faults are delivered by the trace, so hardware that faults by itself is a mismatch. It caches no translation: the
 * processors that the traces come from do not either, or cannot be known to.
 */
export class ModelVcpu implements VcpuMmu {
  private readonly hardware: Vcpu;
  private readonly roots: VcpuRoots;
  private readonly tdp: TdpMmuVcpu | null;
  private readonly shadow: ShadowMmuVcpu;
  /** Guest-physical address of the nested page tables in use, null while L1 runs or L2 has none. */
  nestedRoot: number | null = null;

  constructor(
    private readonly vm: ModelVm,
    index: number,
    private readonly handle: VcpuHandle,
    private readonly paging: GuestPagingRegisters,
  ) {
    const { cpu, host, machine, shadow, tdp } = vm;
    this.shadow = createShadowMmuVcpu(shadow, cpu, index);
    vm.inSrcu(() => kvmInitMmu(shadow, cpu, this.shadow, paging));
    const shadowRoots = new ShadowRoots(shadow, this.shadow, handle);
    this.tdp = tdp === null ? null : createTdpMmuVcpu(tdp, cpu, index);
    this.roots =
      this.tdp === null
        ? shadowRoots
        : new NestedRoots(new TdpRoots(tdp!, this.tdp, host), shadowRoots, this.shadow);
    this.hardware = attachVcpu(machine, handle, { mmu: this });
    if (shadow.format.mode === "shadow" && paging.cr0Pg) this.startPaging(cpu);
  }

  /** Guest-physical address of the tables that KVM walks for a fault: of the guest's own, or of those that it made for L2. */
  get walkedRoot(): number {
    return this.nestedRoot ?? this.paging.cr3;
  }

  /** Guest-physical address of the guest's own page tables. */
  get linearRoot(): number {
    return this.paging.cr3;
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

  /** Whether it has a root and no request to drop it: whatever loads another one is a change of context. */
  isSettled(cpu: Cpu): boolean {
    const requests = cpu.readOnce32(memberRequestsWord(this.handle.flushDomain, this.handle.member));
    return this.rootHpa(cpu) !== NULL_ADDRESS && (requests & ~REQUEST_TLB_FLUSH) === 0;
  }

  /** Goes over to L2 without nested page tables, or back: to the TDP MMU's roots of that role. */
  switchGuestMode(cpu: Cpu): void {
    const { tdp } = this.vm;
    if (tdp === null || this.tdp === null) return;
    const guestMode = cpu.readOnce32(this.tdp.guestModeWord) === 0;
    this.vm.inSrcu(() => kvmMmuSwitchGuestMode(tdp, cpu, this.tdp!, guestMode));
  }

  /** Goes over to L2, whose memory is mapped by L1's tables at `rootGpa`. */
  enterNested(cpu: Cpu, rootGpa: number): void {
    const { shadow } = this.vm;
    this.nestedRoot = rootGpa;
    this.vm.inSrcu(() => {
      // Nothing in a trace tells L2's paging registers; selftests let L2 page like L1.
      initKvmNestedMmu(shadow, cpu, this.shadow, this.paging);
      if (shadow.format.mode === "npt") {
        kvmInitShadowNptMmu(shadow, cpu, this.shadow, { nCr3: rootGpa, cr0Wp: true, eferNx: true });
        return;
      }
      const ad = shadow.format.kvmAdEnabled ? EPTP_AD_ENABLE : 0;
      kvmInitShadowEptMmu(shadow, cpu, this.shadow, { eptp: rootGpa + EPTP_WRITE_BACK_4_LEVELS + ad });
    });
  }

  private leaveNested(cpu: Cpu): void {
    this.nestedRoot = null;
    loadRootMmu(cpu, this.shadow);
  }

  /** Goes over to the context that it had before: out of nested tables, or between L1 and an L2 without them. */
  changeContext(cpu: Cpu): void {
    if (this.nestedRoot !== null) this.leaveNested(cpu);
    else this.switchGuestMode(cpu);
    this.enter(cpu);
  }

  /** KVM translates an address of the guest by itself, to emulate an instruction. */
  translate(cpu: Cpu, address: number, access: number): void {
    this.vm.inSrcu(() => walkMmuGvaToGpa(this.vm.shadow, cpu, this.shadow, address, access));
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
  unload(cpu: Cpu): void {
    const { shadow, tdp } = this.vm;
    this.vm.inSrcu(() => {
      if (tdp !== null) unloadTdp(tdp, cpu, this.tdp!);
      unloadShadow(shadow, cpu, this.shadow);
    });
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

  /** The guest runs in long mode. */
  private startPaging(cpu: Cpu): void {
    const { cr3 } = this.paging;
    this.hardware.setGuestPaging(cpu, { ...PAGING_OFF, mode: "4-level", cr3, cr0Wp: true, eferNx: true });
  }
}
