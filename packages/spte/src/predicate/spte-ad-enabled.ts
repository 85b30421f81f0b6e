import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Whether the CPU maintains the entry's Accessed and Dirty bits. Meaningful for shadow-present entries
 * (`spte_ad_enabled`).
 */
export function spteAdEnabled(format: SpteFormat, spte: Spte): boolean {
  const { rules } = format;
  return BigInt.asUintN(64, BigInt.asUintN(64, spte & rules.spteTdpAdMask) ^ rules.spteTdpAdDisabled) !== 0n;
}

/**
 * Whether dirty logging must write-protect the entry instead of clearing its Dirty bit. Meaningful for
 * shadow-present entries (`spte_ad_need_write_protect`).
 */
export function spteAdNeedWriteProtect(format: SpteFormat, spte: Spte): boolean {
  return BigInt.asUintN(64, spte & format.rules.spteTdpAdMask) !== 0n;
}
