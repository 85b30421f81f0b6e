import type { Spte } from "../address/spte.js";
import { withoutBits } from "../address/without-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { accTrackSavedField } from "./acc-track-saved-field.js";

/**
 * Gives an access-tracked entry its read and execute permissions back (`restore_acc_track_spte`). Neither W
 * nor A returns: the fast page fault adds them as the access needs. Only for access-tracked entries; with
 * hardware A/D bits the result is wrong.
 */
export function restoreAccTrackSpte(format: SpteFormat, spte: Spte): Spte {
  const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
  const shifted = BigInt.asUintN(64, BigInt.asUintN(64, spte) >> accTrackSavedBitsShift);
  const saved = BigInt.asUintN(64, shifted & accTrackSavedBitsMask);
  const cleared = BigInt.asUintN(64, format.shadowAccTrackMask | accTrackSavedField(format.rules));
  return BigInt.asUintN(64, withoutBits(spte, cleared) | saved) as Spte;
}
