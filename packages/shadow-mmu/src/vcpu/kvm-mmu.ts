import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { KvmMmuPageRole } from "@kvm-age/spte";

/** Roots that a context remembers besides the current one (`KVM_MMU_NUM_PREV_ROOTS`). */
export const KVM_MMU_NUM_PREV_ROOTS = 3;

/** What a context translates, and from which guest structures. */
export const MmuKind = {
  /** Not set up. */
  none: 0,
  /** Guest-physical addresses, linear (`kvm_init_kvm_tdp_mmu` with the TDP MMU off; shadow paging with guest paging off). */
  direct: 1,
  /** Guest-linear addresses, from the guest's own page tables (`kvm_init_shadow_mmu`). */
  shadow: 2,
  /** L2's physical addresses, from L1's nested page tables (`kvm_init_shadow_npt_mmu`). */
  nestedNpt: 3,
  /** L2's physical addresses, from L1's EPT (`kvm_init_shadow_ept_mmu`). */
  nestedEpt: 4,
} as const;

export type MmuKind = (typeof MmuKind)[keyof typeof MmuKind];

// Layout.
const ROOT_HPA = 0;
const ROOT_ROLE = 4;
const CPU_ROLE = 8;
const ROOT_PGD = 16;
const PREVIOUS_ROOTS = 24;
const PREVIOUS_ROOT_BYTES = 16;
const PAE_ROOT = PREVIOUS_ROOTS + KVM_MMU_NUM_PREV_ROOTS * PREVIOUS_ROOT_BYTES;
const PML4_ROOT = PAE_ROOT + 4;
const PML5_ROOT = PAE_ROOT + 8;
const KIND = PAE_ROOT + 12;
const GUEST_PGD = PAE_ROOT + 16;
const PDPTRS = GUEST_PGD + 8;

/** Bytes of a context; all zero is one that is not set up. */
export const KVM_MMU_BYTES: number = PDPTRS + 4 * 8;

/**
 * One context of one vCPU (`struct kvm_mmu`): which guest structures are shadowed, and the roots that do it. Its words belong to
 * the vCPU's thread.
 */
export class KvmMmu {
  constructor(readonly address: Address) {}

  /** u32 `root.hpa`: the frame hardware walks from; 0 if none is loaded. */
  get rootHpaWord(): Address {
    return offset(this.address, ROOT_HPA);
  }

  /** u32 `root_role`: what the root table is made for. */
  get rootRoleWord(): Address {
    return offset(this.address, ROOT_ROLE);
  }

  /** u64 `cpu_role`: the guest's paging mode; role word in bits 31:0, extended word in bits 63:32. */
  get cpuRoleWord(): Address {
    return offset(this.address, CPU_ROLE);
  }

  /** u64 `root.pgd`: the guest root that the current root shadows, in bytes; 0 for direct. */
  get rootPgdWord(): Address {
    return offset(this.address, ROOT_PGD);
  }

  /** u32 `prev_roots[index].hpa`, 0 for none. */
  previousRootHpaWord(index: number): Address {
    return offset(this.address, PREVIOUS_ROOTS + index * PREVIOUS_ROOT_BYTES);
  }

  /** u64 `prev_roots[index].pgd`. */
  previousRootPgdWord(index: number): Address {
    return offset(this.address, PREVIOUS_ROOTS + index * PREVIOUS_ROOT_BYTES + 8);
  }

  /** u32 `pae_root`: frame whose first four words are the PDPTEs of a three-level root, 0 until needed. */
  get paeRootWord(): Address {
    return offset(this.address, PAE_ROOT);
  }

  /** u32 `pml4_root`: frame above `pae_root` where hardware has four levels and the guest fewer. */
  get pml4RootWord(): Address {
    return offset(this.address, PML4_ROOT);
  }

  /** u32 `pml5_root`: frame above `pml4_root` where hardware has five. */
  get pml5RootWord(): Address {
    return offset(this.address, PML5_ROOT);
  }

  /** u32: a `MmuKind`. */
  get kindWord(): Address {
    return offset(this.address, KIND);
  }

  /** u64 `get_guest_pgd`: the guest's CR3, or L1's nCR3 or EPTP, in bytes with its flag bits. */
  get guestPgdWord(): Address {
    return offset(this.address, GUEST_PGD);
  }

  /** u64 `pdptrs[index]`: the guest's page-directory-pointer entries as the processor loaded them, PAE only. */
  pdptrWord(index: number): Address {
    return offset(this.address, PDPTRS + index * 8);
  }

  kind(cpu: Cpu): MmuKind {
    return cpu.readOnce32(this.kindWord) as MmuKind;
  }

  rootRole(cpu: Cpu): KvmMmuPageRole {
    return cpu.readOnce32(this.rootRoleWord) as KvmMmuPageRole;
  }

  rootHpa(cpu: Cpu): Address {
    return cpu.readOnce32(this.rootHpaWord) as Address;
  }
}
