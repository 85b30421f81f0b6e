import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isAccessTrackSpte } from "./is-access-track-spte.js";
import { spteAdEnabled } from "./spte-ad-enabled.js";

/**
 * Whether the entry's Accessed bit is set, be it a hardware or a software bit; where the rule set has no software bits, an entry without
 * hardware ones is accessed unless it is access-tracked. Meaningful for shadow-present leaves (`is_accessed_spte`).
 */
export function isAccessedSpte(format: SpteFormat, spte: Spte): boolean {
  if (!format.rules.softwareAdBits && !spteAdEnabled(format, spte)) return !isAccessTrackSpte(format, spte);
  return BigInt.asUintN(64, spte & format.shadowAccessedMask) !== 0n;
}
