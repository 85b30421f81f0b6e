import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Whether a supervisor may execute through the entry: the execute bit set, or NX clear (6.15
 * `is_executable_pte`; in 7.3 the `x` letter of the `kvm_mmu_set_spte` event).
 */
export function isExecutablePte(format: SpteFormat, spte: Spte): boolean {
  const relevant = BigInt.asUintN(64, format.shadowXsMask | format.shadowNxMask);
  return BigInt.asUintN(64, BigInt.asUintN(64, spte & relevant) ^ format.shadowXsMask) === 0n;
}

/** Whether the entry carries the user or user-execute bit (the `u` letter of `kvm_mmu_set_spte`). */
export function isUserPte(format: SpteFormat, spte: Spte): boolean {
  const relevant = BigInt.asUintN(64, format.shadowUserMask | format.shadowXuMask);
  return BigInt.asUintN(64, spte & relevant) !== 0n;
}
