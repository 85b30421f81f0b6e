import type { TraceEvent, TraceValue } from "@kvm-age/machine";
import {
  isLastSpte,
  isShadowPresentPte,
  type PgLevel,
  type Spte,
  type SpteFormat,
  spteToPfn,
} from "@kvm-age/spte";
import type { KvmEvent, KvmEventName } from "@kvm-age/trace";
import type { RootPageLevel } from "../input/root-level.js";
import type { HashedPointers } from "./hashed-pointers.js";
import type { TablePages } from "./table-pages.js";

/** How one field of an event is compared. */
type FieldRule = "equal" | "entry" | "entry-address" | "pointer" | "equal-if-printed";

const SP_FIELDS = {
  gfn: "equal",
  level: "equal",
  byte: "equal",
  quadrant: "equal",
  direct: "equal",
  access: "equal",
  invalid: "equal",
  nxe: "equal",
  ad: "equal",
  root: "equal",
  unsync: "equal",
} as const;

/**
 * The events that are outputs of an MMU, and their fields. A page's `gen` is left out: for pages of the TDP MMU the same byte is another
 * flag.
 */
export const COMPARED_EVENTS: Readonly<Partial<Record<KvmEventName, Readonly<Record<string, FieldRule>>>>> = {
  kvm_tdp_mmu_spte_changed: {
    as_id: "equal",
    gfn: "equal",
    level: "equal",
    old_spte: "entry",
    new_spte: "entry",
  },
  kvm_mmu_set_spte: {
    gfn: "equal",
    spte: "entry",
    level: "equal",
    sptep: "entry-address",
    r: "equal",
    x: "equal",
    u: "equal",
  },
  kvm_mmu_spte_requested: { gfn: "equal", pfn: "equal", level: "equal", access: "equal-if-printed" },
  fast_page_fault: {
    vcpu: "equal",
    gva: "equal",
    error_code: "equal",
    sptep: "pointer",
    old_spte: "equal",
    new_spte: "equal",
    spurious: "equal",
    fixed: "equal",
  },
  kvm_mmu_split_huge_page: { gfn: "equal", spte: "equal", level: "equal", errno: "equal" },
  kvm_mmu_get_page: { ...SP_FIELDS, created: "equal" },
  kvm_mmu_sync_page: SP_FIELDS,
  kvm_mmu_unsync_page: SP_FIELDS,
  kvm_mmu_prepare_zap_page: SP_FIELDS,
  kvm_mmu_zap_all_fast: { mmu_valid_gen: "equal", mmu_used_pages: "equal" },
  mark_mmio_spte: { gfn: "equal", access: "equal", gen: "equal" },
  check_mmio_spte: { spte: "equal", kvm_gen: "equal", spte_gen: "equal", valid: "equal" },
  handle_mmio_page_fault: { addr: "equal", gfn: "equal", access: "equal" },
  kvm_mmu_pagetable_walk: { addr: "equal", pferr: "equal" },
  kvm_mmu_paging_element: { pte: "equal", level: "equal" },
  kvm_mmu_set_accessed_bit: { gpa: "equal" },
  kvm_mmu_set_dirty_bit: { gpa: "equal" },
  kvm_mmu_walker_error: { pferr: "equal" },
};

const KVM_PAGE_BYTES = 4096;
const PDPTE_PRESENT = 1n;

/** Compares what the kernel printed with what the model emitted. */
export class EventComparison {
  constructor(
    private readonly format: SpteFormat,
    private readonly tables: TablePages,
    private readonly pointers: HashedPointers,
    private readonly rootPageLevel: RootPageLevel = 4,
  ) {}

  /** Names of the fields that differ; `["name"]` if it is another event. */
  differences(kernel: KvmEvent, model: TraceEvent): readonly string[] {
    if (kernel.name !== model.name) return ["name"];
    const rules = COMPARED_EVENTS[kernel.name]!;
    const fields = kernel.fields as Readonly<Record<string, TraceValue | null>>;
    const level = Number(fields.level ?? 0) as PgLevel;
    return Object.entries(rules)
      .filter(([name, rule]) => !this.agree(rule, fields[name]!, model.fields[name]!, level))
      .map(([name]) => name);
  }

  /** Whether two values of an entry say the same: equal, or both a link to what is the same table. */
  sameEntry(kernel: bigint, model: bigint, level: PgLevel): boolean {
    if (kernel === model) return true;
    if (!this.isLink(kernel, level) || !this.isLink(model, level)) return false;
    const kernelPage = spteToPfn(this.format, kernel as Spte) * KVM_PAGE_BYTES;
    const modelPage = spteToPfn(this.format, model as Spte) * KVM_PAGE_BYTES;
    if (BigInt.asUintN(64, kernel - BigInt(kernelPage)) !== BigInt.asUintN(64, model - BigInt(modelPage)))
      return false;
    return this.tables.same(modelPage, kernelPage);
  }

  private agree(rule: FieldRule, kernel: TraceValue | null, model: TraceValue, level: PgLevel): boolean {
    switch (rule) {
      case "equal":
        return sameValue(kernel, model);
      case "equal-if-printed":
        return kernel === null || sameValue(kernel, model);
      case "entry":
        return this.sameEntry(BigInt(kernel!), BigInt(model), level);
      case "entry-address":
        return this.tables.same(Number(model), Number(kernel));
      case "pointer":
        return this.pointers.same(BigInt(kernel!), Number(model));
    }
  }

  /** Whether an entry points to a table. Those above the pages of a three-level root are PDPTEs, which have none of KVM's own bits. */
  private isLink(spte: bigint, level: PgLevel): boolean {
    if (level > this.rootPageLevel) return (spte & PDPTE_PRESENT) !== 0n;
    return level > 1 && isShadowPresentPte(spte as Spte) && !isLastSpte(spte as Spte, level);
  }
}

function sameValue(kernel: TraceValue | null, model: TraceValue | undefined | null): boolean {
  if (typeof kernel === "boolean" || kernel === null || model === null || model === undefined)
    return kernel === model;
  if (typeof model === "boolean" || typeof model === "string" || typeof kernel === "string")
    return kernel === model;
  return BigInt(kernel) === BigInt(model);
}
