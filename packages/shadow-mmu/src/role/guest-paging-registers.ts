/** What decides how a guest's own page tables are read (`struct kvm_mmu_role_regs`, and CR3). */
export interface GuestPagingRegisters {
  /** CR0.PG: paging is on. */
  readonly cr0Pg: boolean;
  /** CR0.WP: supervisor writes respect W. */
  readonly cr0Wp: boolean;
  /** CR3 in bytes with its flag bits, an integer in [0, 2^52). */
  readonly cr3: number;
  readonly cr4Pae: boolean;
  readonly cr4Pse: boolean;
  readonly cr4Smep: boolean;
  readonly cr4Smap: boolean;
  /** CR4.PKE. PKRU is 0 in this house, so a key denies nothing. */
  readonly cr4Pke: boolean;
  readonly cr4La57: boolean;
  /** EFER.NX. */
  readonly eferNx: boolean;
  /** EFER.LMA: long mode is active. */
  readonly eferLma: boolean;
}

/** A guest's kernel in long mode with four levels, write protection and NX, as most are; `cr3` is to be set. */
export const LONG_MODE: GuestPagingRegisters = {
  cr0Pg: true,
  cr0Wp: true,
  cr3: 0,
  cr4Pae: true,
  cr4Pse: false,
  cr4Smep: false,
  cr4Smap: false,
  cr4Pke: false,
  cr4La57: false,
  eferNx: true,
  eferLma: true,
};
