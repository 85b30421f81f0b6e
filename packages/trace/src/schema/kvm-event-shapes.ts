import type { KvmEventFields, KvmEventName, KvmMmuPageFields } from "./kvm-event-fields.js";
import type { NeighbourEventFields } from "./neighbour-event-fields.js";

/** What a field of an event may hold. */
export type KvmFieldKind =
  | "number"
  | "number|null"
  | "bigint"
  | "bigint|null"
  | "boolean"
  | "boolean|null"
  | "string";

/** Kinds by what they stand for; a type is of the first that it fits. */
type KindOf<Value> = [Value] extends [number]
  ? "number"
  : [Value] extends [bigint]
    ? "bigint"
    : [Value] extends [boolean]
      ? "boolean"
      : [Value] extends [string]
        ? "string"
        : NullableKindOf<Value>;

type NullableKindOf<Value> = [Value] extends [number | null]
  ? "number|null"
  : [Value] extends [bigint | null]
    ? "bigint|null"
    : [Value] extends [boolean | null]
      ? "boolean|null"
      : never;

type ShapeOf<Fields> = { readonly [Field in keyof Fields]-?: KindOf<Fields[Field]> };

/** The kinds of all fields of all events: what `KvmEventFields` says, for programs that run. */
export type KvmEventShapes = { readonly [Name in KvmEventName]: ShapeOf<KvmEventFields[Name]> };

const PAGE_SHAPE: ShapeOf<KvmMmuPageFields> = Object.freeze({
  gen: "number|null",
  gfn: "number",
  level: "number",
  byte: "number",
  quadrant: "number",
  direct: "boolean",
  access: "number",
  invalid: "boolean",
  nxe: "boolean",
  ad: "boolean|null",
  root: "number",
  unsync: "boolean",
});

const NEIGHBOUR_SHAPES: {
  readonly [Name in keyof NeighbourEventFields]: ShapeOf<NeighbourEventFields[Name]>;
} = Object.freeze({
  kvm_entry: {
    vcpu: "number",
    rip: "bigint",
    intr_info: "number|null",
    error_code: "number|null",
    immediate_exit: "boolean",
  },
  kvm_exit: {
    vcpu: "number",
    reason: "string",
    rip: "bigint",
    info1: "bigint",
    info2: "bigint",
    intr_info: "number|null",
    error_code: "number|null",
    requests: "bigint|null",
  },
  kvm_try_async_get_page: { gva: "bigint", gfn: "number" },
  kvm_async_pf_repeated_fault: { gva: "bigint", gfn: "number" },
  kvm_async_pf_not_present: { token: "bigint", gva: "bigint" },
  kvm_async_pf_ready: { token: "bigint", gva: "bigint" },
  kvm_async_pf_completed: { gva: "bigint", address: "number" },
  kvm_fast_mmio: { gpa: "number" },
  kvm_mmio: { type: "string", len: "number", gpa: "number", val: "bigint" },
  kvm_dirty_ring_push: {
    index: "number",
    dirty_index: "number",
    reset_index: "number",
    slot: "number",
    offset: "number",
    used: "number",
  },
  kvm_dirty_ring_reset: { index: "number", dirty_index: "number", reset_index: "number", used: "number" },
  kvm_dirty_ring_exit: { vcpu: "number" },
  kvm_vm_set_mem_attributes: { start: "number", end: "number", attr: "bigint" },
});

/** The one table of what each event carries; its type keeps it equal to `KvmEventFields`, field by field. */
export const KVM_EVENT_SHAPES: KvmEventShapes = Object.freeze({
  ...NEIGHBOUR_SHAPES,
  kvm_age_hva: { start: "number", end: "number" },
  kvm_test_age_hva: { hva: "number" },
  kvm_unmap_hva_range: { start: "number", end: "number" },
  kvm_page_fault: { vcpu: "number", rip: "bigint", address: "bigint", error_code: "bigint" },
  kvm_mmu_spte_requested: { gfn: "number", pfn: "number", level: "number", access: "number|null" },
  kvm_mmu_set_spte: {
    gfn: "number",
    spte: "bigint",
    level: "number",
    sptep: "number",
    r: "boolean",
    x: "boolean",
    u: "boolean|null",
  },
  fast_page_fault: {
    vcpu: "number",
    gva: "bigint",
    error_code: "bigint",
    sptep: "bigint",
    old_spte: "bigint",
    new_spte: "bigint",
    spurious: "boolean",
    fixed: "boolean",
  },
  kvm_tdp_mmu_spte_changed: {
    as_id: "number",
    gfn: "number",
    level: "number",
    old_spte: "bigint",
    new_spte: "bigint",
  },
  kvm_mmu_split_huge_page: { gfn: "number", spte: "bigint", level: "number", errno: "number" },
  kvm_mmu_get_page: { ...PAGE_SHAPE, created: "boolean" },
  kvm_mmu_sync_page: PAGE_SHAPE,
  kvm_mmu_unsync_page: PAGE_SHAPE,
  kvm_mmu_prepare_zap_page: PAGE_SHAPE,
  kvm_mmu_zap_all_fast: { mmu_valid_gen: "number", mmu_used_pages: "number" },
  mark_mmio_spte: { sptep: "bigint", gfn: "number", access: "number", gen: "number" },
  check_mmio_spte: { spte: "bigint", kvm_gen: "number", spte_gen: "number", valid: "boolean" },
  handle_mmio_page_fault: { addr: "bigint", gfn: "number", access: "number" },
  kvm_mmu_pagetable_walk: { addr: "bigint", pferr: "number" },
  kvm_mmu_paging_element: { pte: "bigint", level: "number" },
  kvm_mmu_set_accessed_bit: { gpa: "number" },
  kvm_mmu_set_dirty_bit: { gpa: "number" },
  kvm_mmu_walker_error: { pferr: "number" },
});
