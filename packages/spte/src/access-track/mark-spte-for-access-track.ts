import type { Spte } from "../address/spte.js";
import { withoutBits } from "../address/without-bits.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isAccessTrackSpte } from "../predicate/is-access-track-spte.js";
import { spteAdEnabled } from "../predicate/spte-ad-enabled.js";
import { checkSpteWritableInvariants } from "../predicate/writability.js";
import { accTrackSavedField } from "./acc-track-saved-field.js";

/**
 * Ages a shadow-present leaf (`mark_spte_for_access_track`). With hardware A/D bits A is cleared. Without,
 * the read and execute permissions move to their saved place and all permissions, and A if it is kept in software, are cleared, so that
 * the next access faults; W is not saved. Idempotent. D, Host- and MMU-writable, pfn and memory type stay.
 */
export function markSpteForAccessTrack(format: SpteFormat, spte: Spte): Spte {
  if (spteAdEnabled(format, spte)) return withoutBits(spte, format.shadowAccessedMask);
  if (isAccessTrackSpte(format, spte)) return spte;
  const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
  const permissions = BigInt.asUintN(64, spte & accTrackSavedBitsMask);
  const saved = BigInt.asUintN(64, permissions << accTrackSavedBitsShift);
  const accessed = format.rules.softwareAdBits ? format.shadowAccessedMask : 0n;
  const cleared = BigInt.asUintN(64, format.shadowAccTrackMask | accessed);
  return withoutBits(BigInt.asUintN(64, spte | saved) as Spte, cleared);
}

/**
 * Number of kernel warnings that marking this entry raises, 0 to 2: broken writability invariants, and
 * permissions saved although the entry is not access-tracked.
 */
export function markSpteForAccessTrackWarnings(format: SpteFormat, spte: Spte): number {
  if (spteAdEnabled(format, spte) || isAccessTrackSpte(format, spte)) return 0;
  const staleSavedBits = (spte & accTrackSavedField(format.rules)) !== 0n;
  return (checkSpteWritableInvariants(format, spte) ? 0 : 1) + (staleSavedBits ? 1 : 0);
}
