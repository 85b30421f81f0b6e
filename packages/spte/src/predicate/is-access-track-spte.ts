import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { spteAdEnabled } from "./spte-ad-enabled.js";

/**
 * Whether the entry had its permissions taken away so that the next access faults and shows that the page is
 * in use. Meaningful for shadow-present leaves (`is_access_track_spte`).
 */
export function isAccessTrackSpte(format: SpteFormat, spte: Spte): boolean {
  return !spteAdEnabled(format, spte) && BigInt.asUintN(64, spte & format.shadowAccTrackMask) === 0n;
}
