import type { NeighbourEventFields } from "./neighbour-event-fields.js";

/** The state of a page-table page as the page-class events print it (`sp gen … gfn … l…`). */
export interface KvmMmuPageFields {
  /** `mmu_valid_gen`, 0 or 1. For pages of the TDP MMU the same storage has another meaning. Null in the text of trace-cmd's plugin. */
  readonly gen: number | null;
  /** First gfn that the page maps; of a page that shadows a guest table, the gfn of that table. */
  readonly gfn: number;
  /** 1 to 5. */
  readonly level: number;
  /** Bytes of an entry of the guest's table. */
  readonly byte: number;
  readonly quadrant: number;
  readonly direct: boolean;
  /** `ACC_*` in the numbering of the kernel that wrote it. Before 7.3: exec 1, write 2, user 4. 7.3: read 1, write 2, user 4, exec 8. */
  readonly access: number;
  readonly invalid: boolean;
  readonly nxe: boolean;
  /** Null in the text of trace-cmd's plugin. */
  readonly ad: boolean | null;
  /** Uses as a root. */
  readonly root: number;
  readonly unsync: boolean;
}

/**
 * What the events of KVM's MMU carry, by the kernel's names. Field names are those of the tracefs `format` files, or of the printed text
 * where the kernel stores something that it decodes for printing.
 *
 * gfns, pfns, host-virtual and guest-physical addresses are numbers, exact: a value that a double cannot hold is damage. Everything
 * that uses all 64 bits is a `bigint`: SPTEs, guest entries, guest-linear addresses, error codes, pointers.
 */
export interface KvmEventFields extends NeighbourEventFields {
  /** A secondary `clear_young` or `clear_flush_young` enters KVM: host-virtual bytes from `start` up to, not including, `end`. */
  readonly kvm_age_hva: { readonly start: number; readonly end: number };
  readonly kvm_test_age_hva: { readonly hva: number };
  readonly kvm_unmap_hva_range: { readonly start: number; readonly end: number };
  /** `error_code`: the EPT exit qualification, or the error code of a nested or plain page fault. `address`: gpa with two-dimensional paging, else gva. */
  readonly kvm_page_fault: {
    readonly vcpu: number;
    readonly rip: bigint;
    readonly address: bigint;
    readonly error_code: bigint;
  };
  /**
   * `pfn` is that of the faulting 4 KiB page at every level, 2^63 (`KVM_PFN_NOSLOT`) outside every slot. `access` is read as null from the
   * text of kernels before 7.3, which do not print it; who emits an event always gives it.
   */
  readonly kvm_mmu_spte_requested: {
    readonly gfn: number;
    readonly pfn: number;
    readonly level: number;
    readonly access: number | null;
  };
  /** `sptep` is the physical address of the entry. `u` is null where the kernel prints no letter: before 7.3, without a user mask. */
  readonly kvm_mmu_set_spte: {
    readonly gfn: number;
    readonly spte: bigint;
    readonly level: number;
    readonly sptep: number;
    readonly r: boolean;
    readonly x: boolean;
    readonly u: boolean | null;
  };
  /** `gva` holds the gpa with two-dimensional paging. `sptep` is a hashed pointer. `new_spte` is the value read back afterwards. */
  readonly fast_page_fault: {
    readonly vcpu: number;
    readonly gva: bigint;
    readonly error_code: bigint;
    readonly sptep: bigint;
    readonly old_spte: bigint;
    readonly new_spte: bigint;
    readonly spurious: boolean;
    readonly fixed: boolean;
  };
  readonly kvm_tdp_mmu_spte_changed: {
    readonly as_id: number;
    readonly gfn: number;
    readonly level: number;
    readonly old_spte: bigint;
    readonly new_spte: bigint;
  };
  /** `spte` is the huge value and `level` its level; `errno` 0, or negative. */
  readonly kvm_mmu_split_huge_page: {
    readonly gfn: number;
    readonly spte: bigint;
    readonly level: number;
    readonly errno: number;
  };
  readonly kvm_mmu_get_page: KvmMmuPageFields & { readonly created: boolean };
  readonly kvm_mmu_sync_page: KvmMmuPageFields;
  readonly kvm_mmu_unsync_page: KvmMmuPageFields;
  readonly kvm_mmu_prepare_zap_page: KvmMmuPageFields;
  /** The generation before it is toggled. */
  readonly kvm_mmu_zap_all_fast: { readonly mmu_valid_gen: number; readonly mmu_used_pages: number };
  /** `access`: the low bits of the entry that the kernel prints. `gen`: bits of the memslot generation that the entry stores. */
  readonly mark_mmio_spte: {
    readonly sptep: bigint;
    readonly gfn: number;
    readonly access: number;
    readonly gen: number;
  };
  readonly check_mmio_spte: {
    readonly spte: bigint;
    readonly kvm_gen: number;
    readonly spte_gen: number;
    readonly valid: boolean;
  };
  /** `addr` is 0 when the MMU is direct. */
  readonly handle_mmio_page_fault: { readonly addr: bigint; readonly gfn: number; readonly access: number };
  /** `pferr`: the access asked for; of a page fault, the low half of its error code without RSVD. */
  readonly kvm_mmu_pagetable_walk: { readonly addr: bigint; readonly pferr: number };
  readonly kvm_mmu_paging_element: { readonly pte: bigint; readonly level: number };
  /** `gpa` of the guest's entry. */
  readonly kvm_mmu_set_accessed_bit: { readonly gpa: number };
  readonly kvm_mmu_set_dirty_bit: { readonly gpa: number };
  /** `pferr`: the error code that the guest gets. */
  readonly kvm_mmu_walker_error: { readonly pferr: number };
}

/** Name of an event of KVM's MMU whose layout is known. */
export type KvmEventName = keyof KvmEventFields;
