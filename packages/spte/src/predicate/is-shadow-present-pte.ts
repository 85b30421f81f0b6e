import type { Spte } from "../address/spte.js";

/** Whether the entry is live: bit 11. False for MMIO, frozen and non-present values (`is_shadow_present_pte`). */
export function isShadowPresentPte(spte: Spte): boolean {
  return BigInt.asUintN(64, spte & 0x800n) !== 0n;
}
