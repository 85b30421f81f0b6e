import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { spteAdEnabled } from "./spte-ad-enabled.js";
import { isWritablePte } from "./writability.js";

/**
 * Whether the entry's Dirty bit is set; where the rule set has no software bits, an entry without hardware ones is dirty if it is writable.
 * Meaningful for shadow-present leaves (`is_dirty_spte`, until 6.12).
 */
export function isDirtySpte(format: SpteFormat, spte: Spte): boolean {
  if (!format.rules.softwareAdBits && !spteAdEnabled(format, spte)) return isWritablePte(spte);
  return BigInt.asUintN(64, spte & format.shadowDirtyMask) !== 0n;
}
