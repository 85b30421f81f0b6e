import { SPTE_MMU_PRESENT_MASK } from "@kvm-age/spte";
import type { TraceRecord } from "../schema/trace-record.js";

/** A shadow-present value that an event shows, with the level of its table. */
export interface ObservedSpte {
  readonly spte: bigint;
  readonly level: number;
}

function isPresent(spte: bigint): boolean {
  return BigInt.asUintN(64, spte & SPTE_MMU_PRESENT_MASK) !== 0n;
}

/** The shadow-present value that an event leaves behind, or else the one that it replaced; null if it shows none. */
export function observedSpte(record: TraceRecord): ObservedSpte | null {
  if (record.kind !== "kvm") return null;
  if (record.name === "kvm_mmu_set_spte") {
    const { spte, level } = record.fields;
    return isPresent(spte) ? { spte, level } : null;
  }
  if (record.name !== "kvm_tdp_mmu_spte_changed") return null;
  const { old_spte, new_spte, level } = record.fields;
  if (isPresent(new_spte)) return { spte: new_spte, level };
  return isPresent(old_spte) ? { spte: old_spte, level } : null;
}
