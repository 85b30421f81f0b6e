import type { TraceRecord } from "../schema/trace-record.js";

/** Why pages were zapped, as far as the task's events before tell. */
export const ZAP_CAUSES = {
  invalidation: "the host invalidated the memory (kvm_unmap_hva_range)",
  zapAll: "a memslot went away (kvm_mmu_zap_all_fast)",
  teardown: "their table was torn down (kvm_mmu_prepare_zap_page)",
  fault: "a guest fault replaced them",
  unknown: "the trace does not show",
} as const;
export type ZapCause = keyof typeof ZAP_CAUSES;

/** Keeps what each task is about, to tell why it zaps. Memory grows with the number of tasks. */
export class ZapCauses {
  readonly #doing = new Map<number, ZapCause>();

  /** Takes a record before its zap, if it is one, is asked about. */
  observe(record: TraceRecord): void {
    if (record.kind === "note") this.#doing.delete(record.pid);
    if (record.kind !== "kvm") return;
    const next = this.#next(record.pid, record.name);
    if (next === null) this.#doing.delete(record.pid);
    else this.#doing.set(record.pid, next);
  }

  /** Why a task zaps at this moment. */
  of(pid: number): ZapCause {
    return this.#doing.get(pid) ?? "unknown";
  }

  #next(pid: number, name: string): ZapCause | null {
    const now = this.#doing.get(pid) ?? null;
    switch (name) {
      case "kvm_unmap_hva_range":
        return "invalidation";
      case "kvm_mmu_zap_all_fast":
        return "zapAll";
      case "kvm_page_fault":
        return "fault";
      case "kvm_mmu_prepare_zap_page":
        return now === "zapAll" || now === "fault" ? now : "teardown";
      case "kvm_tdp_mmu_spte_changed":
      case "kvm_mmu_spte_requested":
      case "kvm_mmu_get_page":
      case "kvm_mmu_set_spte":
      case "fast_page_fault":
        return now;
      default:
        return null;
    }
  }
}
