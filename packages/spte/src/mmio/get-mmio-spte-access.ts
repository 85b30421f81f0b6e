import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** Access bits stored in an MMIO entry, in the rule set's numbering (`get_mmio_spte_access`). */
export function getMmioSpteAccess(format: SpteFormat, spte: Spte): number {
  return Number(spte & format.shadowMmioAccessMask);
}
