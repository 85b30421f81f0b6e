import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** Whether a TDP MMU thread owns the slot for the moment (`is_frozen_spte`). */
export function isFrozenSpte(format: SpteFormat, spte: Spte): boolean {
  return BigInt.asUintN(64, spte ^ format.frozenSpte) === 0n;
}
