import type { Address, Cpu } from "@kvm-age/machine";
import {
  gvaToGpa,
  kvmInitShadowEptMmu,
  kvmInitShadowNptMmu,
  kvmMmuResetContext,
  kvmMmuSyncRoots,
  kvmWriteGuestPte,
  loadRootMmu,
  ShadowMmuVcpu,
  kvmMmuUnload as unloadShadow,
} from "@kvm-age/shadow-mmu";
import { PFERR_WRITE_MASK } from "@kvm-age/spte";
import { TdpMmuVcpu, kvmMmuUnload as unloadTdp } from "@kvm-age/tdp-mmu";
import {
  ACCESS_EMULATE,
  type AccessResult,
  attachVcpu,
  noAccessRecorder,
  noIntercepts,
  type Vcpu,
  type VcpuHandle,
} from "@kvm-age/vcpu";
import { guestPagingRegisters } from "./guest-paging-registers.js";
import { NestedRoots } from "./nested-roots.js";
import { ShadowIntercepts } from "./shadow-intercepts.js";
import { ShadowRoots } from "./shadow-roots.js";
import { TdpRoots } from "./tdp-roots.js";
import { type FaultObserver, VcpuMmuAdapter } from "./vcpu-mmu-adapter.js";
import type { VcpuRoots } from "./vcpu-roots.js";
import type { Vm } from "./vm.js";

/** One vCPU of a VM as plain data: the hardware's part, and each MMU's if there is that MMU. */
export interface VmVcpuHandle {
  readonly hardware: VcpuHandle;
  readonly tdp: Address | null;
  readonly shadow: Address | null;
}

// EPTP: write-back, four levels, and A/D maintained.
const EPTP_WRITE_BACK_4_LEVELS = 0x1e;
const EPTP_AD_ENABLE = 0x40;

/** One vCPU of a VM for the one thread that runs it: the processor, and what KVM keeps for it. */
export class VmVcpu {
  readonly hardware: Vcpu;
  readonly tdp: TdpMmuVcpu | null;
  readonly shadow: ShadowMmuVcpu | null;
  private readonly shadowRoots: ShadowRoots | null;

  constructor(
    private readonly vm: Vm,
    readonly index: number,
    faults: FaultObserver,
  ) {
    const handle = vm.handle.vcpus[index]!;
    const { srcu } = vm.memslots.locks;
    this.tdp = vm.tdp === null ? null : new TdpMmuVcpu(vm.tdp, index, handle.tdp!);
    this.shadow = vm.shadow === null ? null : new ShadowMmuVcpu(vm.shadow, index, handle.shadow!);
    this.shadowRoots =
      this.shadow === null ? null : new ShadowRoots(vm.shadow!, this.shadow, handle.hardware);
    const intercepts =
      this.shadow === null || vm.shadow!.tdpEnabled
        ? noIntercepts
        : new ShadowIntercepts(vm.shadow!, this.shadow, handle.hardware, srcu);
    this.hardware = attachVcpu(vm.machine, handle.hardware, {
      mmu: new VcpuMmuAdapter(this.roots(), srcu, vm.latencies, faults),
      intercepts,
      accessRecorder: vm.accessEpochs ?? noAccessRecorder,
    });
  }

  /** Sets the context of a guest that is not nested up for its paging registers, without a root (`kvm_mmu_reset_context`). */
  resetMmu(cpu: Cpu): void {
    const registers = guestPagingRegisters(this.hardware.guestPaging(cpu));
    this.inSrcu(cpu, () => kvmMmuResetContext(this.vm.shadow!, cpu, this.shadow!, registers));
  }

  /**
   * Toggles CR0.WP, after which KVM sets the MMU up anew (`kvm_mmu_reset_context`): every root of the vCPU is dropped, and the next
   * entry loads one. Over shadow tables the bit is part of the role, so that root is another than before.
   */
  toggleCr0Wp(cpu: Cpu): void {
    const state = this.hardware.guestPaging(cpu);
    this.hardware.setGuestPaging(cpu, { ...state, cr0Wp: !state.cr0Wp });
    // Over shadow tables that was an exit, whose handler has done the rest.
    if (this.vm.config.mmu !== "shadow") this.dropRoots(cpu);
  }

  /** Whether L2's last access ended in a fault that L1 must handle; asking forgets it. */
  takeNestedFault(): boolean {
    const roots = this.shadowRoots;
    if (roots === null || roots.nestedFault === null) return false;
    roots.nestedFault = null;
    return true;
  }

  /** L1 enters L2, whose memory is mapped by nested page tables of L1's with their root at `rootGpa`. */
  enterL2(cpu: Cpu, rootGpa: number): void {
    this.hardware.enterL2(cpu);
    const { guestPgdWord } = this.shadow!.guestMmu;
    const before = cpu.readOnce(guestPgdWord);
    this.inSrcu(cpu, () => this.initNestedMmu(cpu, rootGpa));
    // Processors tag what they cache with the nested root (EP4TA, ASID); this one tags with the VPID only.
    if (cpu.readOnce(guestPgdWord) !== before) this.hardware.flushTlb(cpu);
  }

  /**
   * L1's INVEPT of all contexts (`handle_invept`), or on AMD its way to the same end: what is shadowed of its nested tables is to be built
   * anew. In L1, which it leaves.
   */
  invept(cpu: Cpu): void {
    this.hardware.exitGuest(cpu);
    this.inSrcu(cpu, () => unloadShadow(this.vm.shadow!, cpu, this.shadow!));
  }

  /** Brings what is shadowed of the nested tables in use in line with them (`KVM_REQ_MMU_SYNC`), and drops what is cached. Leaves the guest. */
  syncNested(cpu: Cpu): void {
    this.hardware.exitGuest(cpu);
    this.inSrcu(cpu, () => kvmMmuSyncRoots(this.vm.shadow!, cpu, this.shadow!));
    this.hardware.flushTlb(cpu);
  }

  /** L2 exits to L1. */
  exitL2(cpu: Cpu): void {
    this.hardware.exitL2(cpu);
    loadRootMmu(cpu, this.shadow!);
  }

  /**
   * A guest's store of eight bytes, carried out by the emulator if the page is a write-protected guest page table.
   *
   * @param address a multiple of 8, as the running guest addresses memory
   * @returns as `Vcpu.store`; `ACCESS_EMULATE` if no slot has the address
   */
  store(cpu: Cpu, address: number, value: bigint): AccessResult {
    const result = this.hardware.store(cpu, address, value);
    if (result !== ACCESS_EMULATE || this.shadow === null) return result;
    return this.inSrcu(cpu, () => (this.emulateStore(cpu, address, value) ? 0 : ACCESS_EMULATE));
  }

  private emulateStore(cpu: Cpu, address: number, value: bigint): boolean {
    const { shadow } = this.vm;
    // L1 may have repaired its tables since the hardware's fault; the emulator's own walk decides.
    this.shadowRoots!.nestedFault = null;
    const translates = this.tdp === null || this.shadow!.current(cpu) === this.shadow!.guestMmu;
    const gpa = translates ? gvaToGpa(shadow!, cpu, this.shadow!, address, PFERR_WRITE_MASK) : address;
    return typeof gpa === "number" && kvmWriteGuestPte(shadow!, cpu, this.shadow!, gpa, 8, value);
  }

  private roots(): VcpuRoots {
    const { tdp, hostMm } = this.vm;
    if (this.tdp === null) return this.shadowRoots!;
    const tdpRoots = new TdpRoots(tdp!, this.tdp, hostMm);
    return this.shadow === null ? tdpRoots : new NestedRoots(tdpRoots, this.shadowRoots!, this.shadow);
  }

  private initNestedMmu(cpu: Cpu, rootGpa: number): void {
    const shadow = this.vm.shadow!;
    if (shadow.format.mode === "npt") {
      kvmInitShadowNptMmu(shadow, cpu, this.shadow!, { nCr3: rootGpa, cr0Wp: true, eferNx: true });
      return;
    }
    const ad = shadow.format.kvmAdEnabled ? EPTP_AD_ENABLE : 0;
    kvmInitShadowEptMmu(shadow, cpu, this.shadow!, { eptp: rootGpa + EPTP_WRITE_BACK_4_LEVELS + ad });
  }

  /** Leaves the guest and drops the roots of both MMUs (`kvm_mmu_unload`). */
  private dropRoots(cpu: Cpu): void {
    const { tdp, shadow } = this.vm;
    this.hardware.exitGuest(cpu);
    this.inSrcu(cpu, () => {
      if (tdp !== null) unloadTdp(tdp, cpu, this.tdp!);
      if (shadow !== null) unloadShadow(shadow, cpu, this.shadow!);
    });
  }

  private inSrcu<Result>(cpu: Cpu, work: () => Result): Result {
    const { srcu } = this.vm.memslots.locks;
    const index = cpu.srcuReadLock(srcu);
    const result = work();
    cpu.srcuReadUnlock(srcu, index);
    return result;
  }
}
