import { type Cpu, memberRequestsWord, REQUEST_TLB_FLUSH, type Srcu } from "@kvm-age/machine";
import {
  kvmMmuInvlpg,
  kvmMmuNewPgd,
  kvmMmuResetContext,
  kvmMmuSyncPrevRoots,
  kvmMmuSyncRoots,
  type ShadowMmu,
  type ShadowMmuVcpu,
} from "@kvm-age/shadow-mmu";
import { type GuestPagingIntercepts, readGuestPaging, type VcpuHandle } from "@kvm-age/vcpu";
import { guestPagingRegisters } from "./guest-paging-registers.js";

/** KVM's handlers of the instructions with which a guest over shadow tables changes its paging, and flushes its TLB. */
export class ShadowIntercepts implements GuestPagingIntercepts {
  constructor(
    private readonly shadow: ShadowMmu,
    private readonly vcpu: ShadowMmuVcpu,
    private readonly hardware: VcpuHandle,
    private readonly srcu: Srcu,
  ) {}

  /** `kvm_set_cr3`: the root of the new table; its entries in line with the guest's, unless the guest keeps its translations. */
  loadCr3(cpu: Cpu, noFlush: boolean): void {
    const { cr3 } = readGuestPaging(cpu, this.hardware);
    this.inSrcu(cpu, () => {
      kvmMmuNewPgd(this.shadow, cpu, this.vcpu, this.vcpu.rootMmu, cr3);
      if (!noFlush) this.sync(cpu);
    });
    this.flushOnEntry(cpu);
  }

  invlpg(cpu: Cpu, gva: number): void {
    this.inSrcu(cpu, () => kvmMmuInvlpg(this.shadow, cpu, this.vcpu, gva));
    this.flushOnEntry(cpu);
  }

  /** `kvm_vcpu_flush_tlb_guest`. */
  flushGuestTlb(cpu: Cpu): void {
    this.inSrcu(cpu, () => this.sync(cpu));
    this.flushOnEntry(cpu);
  }

  pagingChanged(cpu: Cpu): void {
    const registers = guestPagingRegisters(readGuestPaging(cpu, this.hardware));
    this.inSrcu(cpu, () => kvmMmuResetContext(this.shadow, cpu, this.vcpu, registers));
    this.flushOnEntry(cpu);
  }

  private sync(cpu: Cpu): void {
    kvmMmuSyncRoots(this.shadow, cpu, this.vcpu);
    kvmMmuSyncPrevRoots(this.shadow, cpu, this.vcpu);
  }

  /** `kvm_make_request(KVM_REQ_TLB_FLUSH_GUEST)` to itself: served by the next entry, after everything above. */
  private flushOnEntry(cpu: Cpu): void {
    const { flushDomain, member } = this.hardware;
    cpu.fetchOr32(memberRequestsWord(flushDomain, member), REQUEST_TLB_FLUSH, "relaxed");
  }

  private inSrcu(cpu: Cpu, work: () => void): void {
    const index = cpu.srcuReadLock(this.srcu);
    work();
    cpu.srcuReadUnlock(this.srcu, index);
  }
}
