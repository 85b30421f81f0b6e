import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** Whether the CPU may write through the entry: bit 1 (`is_writable_pte`). */
export function isWritablePte(spte: Spte): boolean {
  return BigInt.asUintN(64, spte & 0x2n) !== 0n;
}

/**
 * Whether KVM may set W without taking `mmu_lock`, because W is missing only for dirty logging or access
 * tracking (`is_mmu_writable_spte`).
 */
export function isMmuWritableSpte(format: SpteFormat, spte: Spte): boolean {
  return BigInt.asUintN(64, spte & format.shadowMmuWritableMask) !== 0n;
}

/**
 * Whether a shadow-present leaf holds the two writability invariants: MMU-writable needs Host-writable, and W
 * needs MMU-writable. The kernel warns where this returns false (`check_spte_writable_invariants`).
 */
export function checkSpteWritableInvariants(format: SpteFormat, spte: Spte): boolean {
  if (!isMmuWritableSpte(format, spte)) return !isWritablePte(spte);
  return BigInt.asUintN(64, spte & format.shadowHostWritableMask) !== 0n;
}
