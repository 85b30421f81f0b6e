import type { Cpu } from "@kvm-age/machine";

/**
 * What KVM must hear of over shadow tables, where the guest's paging is KVM's own work: the instructions that exit. Called
 * on the vCPU's thread, outside the guest, after the vCPU's registers have their new values (`readGuestPaging`). The
 * hardware drops no translation by itself for `loadCr3` and `invlpg`: the owner of the tables does, by `Vcpu.flushTlb` or
 * `flushTlbGva`, when it has done its part. Over EPT and NPT nothing exits and nothing of this is called.
 */
export interface GuestPagingIntercepts {
  /**
   * MOV to CR3 (`kvm_set_cr3`).
   *
   * @param noFlush bit 63 of the operand: the guest keeps the translations of the PCID
   */
  loadCr3(cpu: Cpu, noFlush: boolean): void;
  /** INVLPG (`kvm_mmu_invlpg`). */
  invlpg(cpu: Cpu, gva: number): void;
  /** INVPCID of all contexts, or a change of CR4 that asks for it. */
  flushGuestTlb(cpu: Cpu): void;
  /** MOV to CR0, CR4 or EFER (`kvm_mmu_reset_context`). */
  pagingChanged(cpu: Cpu): void;
}

/** Nobody is told: for two-dimensional paging. */
export const noIntercepts: GuestPagingIntercepts = {
  loadCr3() {},
  invlpg() {},
  flushGuestTlb() {},
  pagingChanged() {},
};
