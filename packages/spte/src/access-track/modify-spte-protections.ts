import type { Spte } from "../address/spte.js";
import { ContradictoryProtectionBitsError } from "../errors.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isAccessTrackSpte } from "../predicate/is-access-track-spte.js";
import { markSpteForAccessTrack } from "./mark-spte-for-access-track.js";
import { restoreAccTrackSpte } from "./restore-acc-track-spte.js";

/**
 * Sets and clears permission bits of a shadow-present leaf; on an access-tracked one the change goes to the
 * saved permissions (`modify_spte_protections`).
 * @throws ContradictoryProtectionBitsError when a bit is in both `set` and `clear`
 */
export function modifySpteProtections(format: SpteFormat, spte: Spte, set: bigint, clear: bigint): Spte {
  if ((set & clear) !== 0n) throw new ContradictoryProtectionBitsError(set, clear);
  const tracked = isAccessTrackSpte(format, spte);
  const visible = tracked ? restoreAccTrackSpte(format, spte) : spte;
  const modified = BigInt.asUintN(64, (visible | set) & ~clear) as Spte;
  return tracked ? markSpteForAccessTrack(format, modified) : modified;
}
