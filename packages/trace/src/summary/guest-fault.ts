import { isAccessTrackSpte, type Spte, type SpteFormat } from "@kvm-age/spte";
import type { TraceMmuMode } from "../identify/trace-identity.js";
import type { KvmEventFields } from "../schema/kvm-event-fields.js";
import type { KvmEvent } from "../schema/trace-record.js";
import { type FaultAccess, faultAccess, faultedInGuestWalk } from "./fault-access.js";

/** How KVM dealt with a guest's fault. */
export const FAULT_OUTCOMES = {
  mapped4K: "mapped a 4 KiB page",
  mapped2M: "mapped a 2 MiB page",
  mapped1G: "mapped a 1 GiB page",
  restored: "fast: access-tracked page restored",
  writeEnabled: "fast: write-protected page made writable",
  spurious: "fast: another vCPU had fixed it",
  mmio: "no memory there: MMIO",
  guestFault: "the guest's own page tables forbid it",
  notMapped: "frame found but not mapped: retried, or mapped meanwhile",
  unknown: "the trace does not show",
} as const;
export type FaultOutcome = keyof typeof FAULT_OUTCOMES;

const MAPPED_AT_LEVEL: readonly FaultOutcome[] = ["mapped4K", "mapped2M", "mapped1G"];

type PageFault = KvmEventFields["kvm_page_fault"];
type FastFault = KvmEventFields["fast_page_fault"];

/** A guest fault, from `kvm_page_fault` to the task's next event that has nothing to do with it. */
export class GuestFault {
  readonly access: FaultAccess;
  readonly inGuestWalk: boolean;
  readonly #format: SpteFormat;
  #fast: FaultOutcome | null = null;
  #requested: { readonly gfn: number; readonly level: number } | null = null;
  #mappedLevel: number | null = null;
  #mmio = false;
  #guestFault = false;

  constructor(format: SpteFormat, { error_code }: PageFault) {
    const mode = format.mode as TraceMmuMode;
    this.#format = format;
    this.access = faultAccess(mode, error_code);
    this.inGuestWalk = faultedInGuestWalk(mode, error_code);
  }

  /** Takes the task's next event; false if it is not part of dealing with the fault. */
  observe(event: KvmEvent): boolean {
    switch (event.name) {
      case "fast_page_fault":
        this.#observeFast(event.fields);
        return true;
      case "kvm_mmu_spte_requested":
        this.#requested = event.fields;
        return true;
      case "kvm_mmu_set_spte":
        this.#mappedLevel ??= event.fields.level;
        return true;
      case "mark_mmio_spte":
        this.#mmio = true;
        return true;
      case "kvm_mmu_walker_error":
        this.#guestFault = true;
        return true;
      default:
        return GuestFault.#mayFollow.has(event.name);
    }
  }

  /** Events that dealing with a fault may cause and that do not say how it ends. */
  static readonly #mayFollow: ReadonlySet<string> = new Set([
    "kvm_tdp_mmu_spte_changed",
    "kvm_mmu_get_page",
    "kvm_mmu_split_huge_page",
    "kvm_mmu_prepare_zap_page",
    "kvm_mmu_sync_page",
    "kvm_mmu_unsync_page",
    "kvm_mmu_pagetable_walk",
    "kvm_mmu_paging_element",
    "kvm_mmu_set_accessed_bit",
    "kvm_mmu_set_dirty_bit",
    "kvm_try_async_get_page",
    "kvm_async_pf_repeated_fault",
    "kvm_async_pf_not_present",
    "kvm_dirty_ring_push",
  ]);

  #observeFast({ old_spte, spurious, fixed }: FastFault): void {
    if (spurious) this.#fast = "spurious";
    else if (fixed) {
      this.#fast = isAccessTrackSpte(this.#format, old_spte as Spte) ? "restored" : "writeEnabled";
    }
  }

  get outcome(): FaultOutcome {
    if (this.#fast !== null) return this.#fast;
    if (this.#mmio) return "mmio";
    if (this.#guestFault) return "guestFault";
    if (this.#mappedLevel !== null) return MAPPED_AT_LEVEL[this.#mappedLevel - 1] ?? "unknown";
    return this.#requested === null ? "unknown" : "notMapped";
  }
}
