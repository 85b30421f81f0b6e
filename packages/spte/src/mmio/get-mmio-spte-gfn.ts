import type { Gfn } from "../address/gfn.js";
import type { Spte } from "../address/spte.js";
import { SHADOW_NONPRESENT_OR_RSVD_MASK_LEN } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";

/** The gfn an MMIO entry was made for, with the relocated bits back in place (`get_mmio_spte_gfn`). */
export function getMmioSpteGfn(format: SpteFormat, spte: Spte): Gfn {
  const inPlace = spte & format.shadowNonpresentOrRsvdLowerGfnMask;
  const relocated =
    (BigInt.asUintN(64, spte) >> SHADOW_NONPRESENT_OR_RSVD_MASK_LEN) & format.shadowNonpresentOrRsvdMask;
  return Number((inPlace | relocated) >> 12n) as Gfn;
}
