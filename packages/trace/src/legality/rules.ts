/** Name of a rule, as reports carry it. */
export type LegalityRuleName =
  | "old-value-is-the-last-value"
  | "entry-value-is-a-kernel-value"
  | "changed-means-different"
  | "aged-was-accessed"
  | "aging-clears-accessed-only"
  | "only-aging-clears-accessed"
  | "leaf-change-keeps-the-rest"
  | "no-pfn-change-in-place"
  | "writable-invariants"
  | "reserved-bits"
  | "nonleaf-is-made-by-the-kernel"
  | "leaf-is-made-by-the-kernel"
  | "table-follows-empty-entry"
  | "frozen-only-in-teardown"
  | "frozen-is-final"
  | "teardown-order"
  | "teardown-is-complete"
  | "zapped-page-was-in-use"
  | "table-is-linked"
  | "page-is-linked"
  | "fault-witnesses-agree"
  | "set-spte-repeats-the-change"
  | "sptep-is-the-entry"
  | "letters-agree"
  | "gfn-is-aligned"
  | "fast-fault-change"
  | "fast-fault-flags"
  | "split-names-the-huge-page"
  | "recover-takes-a-small-page"
  | "notifier-range"
  | "probe-repeats-the-range"
  | "change-is-in-the-range"
  | "young-iff-accessed"
  | "unmap-is-complete"
  | "generation-is-a-bit"
  | "mmio-entry-names-its-gfn"
  | "guest-walk-descends"
  | "dump-shows-the-state";

/** A rule: what it demands, and where the demand comes from. */
export interface LegalityRule {
  readonly statement: string;
  readonly source: string;
}

/** Every rule, by name. */
export const LEGALITY_RULES: Readonly<Record<LegalityRuleName, LegalityRule>> = {
  "old-value-is-the-last-value": {
    statement:
      "An event's old value is the last value seen for the entry. The CPU may have set Accessed in between, and Dirty if the entry is writable; it clears nothing.",
    source: "kvm_tdp_mmu_spte_changed, fast_page_fault; SDM and APM on Accessed and Dirty",
  },
  "entry-value-is-a-kernel-value": {
    statement:
      "An entry is shadow-present, non-present (bit 63 only), frozen (the value of its kernel) or MMIO. Present values carry only flags that the kernel's operations lead to.",
    source: "spte.h: SHADOW_NONPRESENT_VALUE, FROZEN_SPTE, is_mmio_spte; make_spte",
  },
  "changed-means-different": {
    statement:
      "A change shows two different values. Aging by fetch-and (before 7.3) may show the same value twice.",
    source: "__handle_changed_spte; kvm_tdp_mmu_age_spte",
  },
  "aged-was-accessed": {
    statement: "Aging changes only entries whose Accessed bit was set.",
    source: "kvm_tdp_mmu_handle_gfn: is_accessed_spte",
  },
  "aging-clears-accessed-only": {
    statement:
      "Aging clears Accessed and nothing else. Without A/D bits it also moves R and X to the saved bits and drops W.",
    source: "mark_spte_for_access_track",
  },
  "only-aging-clears-accessed": {
    statement: "An entry that stays a leaf loses Accessed only by aging, inside a call of kvm_age_hva.",
    source: "kvm_tdp_mmu_age_gfn_range",
  },
  "leaf-change-keeps-the-rest": {
    statement:
      "A leaf that stays a leaf of the same page changes by aging, by losing W or D to dirty logging, by losing W and MMU-writable to write protection, or by a fault that makes it anew.",
    source: "wrprot_gfn_range, clear_dirty_pt_masked, write_protect_gfn, tdp_mmu_map_handle_target_level",
  },
  "no-pfn-change-in-place": {
    statement: "A leaf never becomes a leaf of another page without having been non-present in between.",
    source: "__handle_changed_spte: BUG on pfn_changed",
  },
  "writable-invariants": {
    statement: "W needs MMU-writable, and MMU-writable needs Host-writable.",
    source: "check_spte_writable_invariants",
  },
  "reserved-bits": {
    statement: "No present value has a reserved bit of the host's tables.",
    source: "is_rsvd_spte",
  },
  "nonleaf-is-made-by-the-kernel": {
    statement: "A value that points to a table has exactly the flags of make_nonleaf_spte.",
    source: "make_nonleaf_spte",
  },
  "leaf-is-made-by-the-kernel": {
    statement: "A newly mapped leaf has flags that make_spte makes of the access asked for.",
    source: "make_spte",
  },
  "table-follows-empty-entry": {
    statement: "An entry that points to a table never changes to point to another table.",
    source: "__handle_changed_spte",
  },
  "frozen-only-in-teardown": {
    statement:
      "The frozen value is written only to entries of a table that is being torn down by the same task.",
    source: "handle_removed_pt",
  },
  "frozen-is-final": {
    statement: "A frozen entry never changes.",
    source: "__tdp_mmu_set_spte_atomic, FROZEN_SPTE",
  },
  "teardown-order": {
    statement: "The entries of a torn-down table are frozen in ascending order.",
    source: "handle_removed_pt",
  },
  "teardown-is-complete": {
    statement:
      "Tearing a table down freezes each of its present entries, and, where readers of mmu_lock may be around, the empty ones too.",
    source: "handle_removed_pt",
  },
  "zapped-page-was-in-use": {
    statement: "A page-table page that is zapped was created before and has not been zapped since.",
    source: "kvm_mmu_get_page, kvm_mmu_prepare_zap_page",
  },
  "table-is-linked": {
    statement: "An entry that changes lies in a table that the root leads to.",
    source: "tdp_iter",
  },
  "page-is-linked": {
    statement:
      "The table that is linked is the page that the same task just created, for the same frames and one level down.",
    source: "tdp_mmu_init_child_sp, tdp_mmu_link_sp",
  },
  "fault-witnesses-agree": {
    statement:
      "One fault speaks of one gfn, one pfn and one level: kvm_page_fault, kvm_mmu_spte_requested, the change of the entry and kvm_mmu_set_spte.",
    source: "kvm_tdp_mmu_map, direct_map, tdp_mmu_map_handle_target_level",
  },
  "set-spte-repeats-the-change": {
    statement: "kvm_mmu_set_spte shows the value that the entry has.",
    source: "trace_kvm_mmu_set_spte",
  },
  "sptep-is-the-entry": {
    statement: "The address of an entry is the address of its table plus 8 times its index, and stays.",
    source: "tdp_iter_refresh_sptep, spte_index",
  },
  "letters-agree": {
    statement: "The letters of kvm_mmu_set_spte say what the value says.",
    source: "kvm_mmu_set_spte, TP_fast_assign",
  },
  "gfn-is-aligned": {
    statement: "The gfn of an entry or of a direct page is a multiple of the frames it covers.",
    source: "__handle_changed_spte: WARN on gfn",
  },
  "fast-fault-change": {
    statement:
      "A fast page fault restores saved R and X, sets a software Accessed bit, sets W where MMU-writable allows it, and nothing else.",
    source: "fast_page_fault",
  },
  "fast-fault-flags": {
    statement: "A fixed fault changed the value, or another CPU did; one that was not fixed left it alone.",
    source: "fast_page_fault",
  },
  "split-names-the-huge-page": {
    statement: "kvm_mmu_split_huge_page names the huge value that the same task just replaced by a table.",
    source: "tdp_mmu_split_huge_page",
  },
  "recover-takes-a-small-page": {
    statement:
      "A table that becomes a leaf becomes the leaf that a present entry of the table, or a fault, makes.",
    source: "recover_huge_pages_range, make_huge_spte",
  },
  "notifier-range": {
    statement:
      "A range of host-virtual addresses ascends, is not empty and lies in user space; unmapped ranges consist of whole pages.",
    source: "kvm_mmu_notifier_clear_young, kvm_mmu_notifier_invalidate_range_start",
  },
  "probe-repeats-the-range": {
    statement:
      "The probes inside one notifier call show its range, and the range of gfns that the memslot makes of it.",
    source: "kvm_handle_hva_range",
  },
  "change-is-in-the-range": {
    statement: "What a notifier call changes lies in the range it was called for.",
    source: "kvm_tdp_mmu_age_gfn_range, kvm_tdp_mmu_unmap_gfn_range",
  },
  "young-iff-accessed": {
    statement:
      "Aging answers young exactly if it met an accessed leaf; an accessed leaf that lost a race counts.",
    source: "kvm_tdp_mmu_age_gfn_range, kvm_age_gfn",
  },
  "unmap-is-complete": {
    statement: "After an unmap no leaf of the range is left.",
    source: "kvm_tdp_mmu_unmap_gfn_range",
  },
  "generation-is-a-bit": {
    statement: "The generation of shadow pages is 0 or 1.",
    source: "kvm_mmu_zap_all_fast",
  },
  "mmio-entry-names-its-gfn": {
    statement: "An MMIO entry holds the gfn it stands for.",
    source: "make_mmio_spte",
  },
  "guest-walk-descends": {
    statement:
      "A walk of the guest's tables starts at the faulting address and descends level by level; Accessed and Dirty are set in the entries it met; its last entry names the gfn.",
    source: "FNAME(walk_addr_generic)",
  },
  "dump-shows-the-state": {
    statement: "A dumped entry has the value, the place and the address that the events led to.",
    source: "notes of the recording VMM",
  },
};
