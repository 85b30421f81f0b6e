import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Whether the entry's Accessed bit is set, be it a hardware or a software bit. Meaningful for shadow-present
 * leaves (`is_accessed_spte`, since 6.13).
 */
export function isAccessedSpte(format: SpteFormat, spte: Spte): boolean {
  return BigInt.asUintN(64, spte & format.shadowAccessedMask) !== 0n;
}
