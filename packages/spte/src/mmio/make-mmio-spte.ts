import type { Gfn } from "../address/gfn.js";
import type { Spte } from "../address/spte.js";
import { SHADOW_NONPRESENT_OR_RSVD_MASK_LEN } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { MmioGenerationLayout } from "../rules/rule-set.js";

/** The two runs of generation bits; bit 63 and whatever else does not fit is dropped. */
function generationBits(layout: MmioGenerationLayout, generation: bigint): bigint {
  const stored = generation & layout.mask;
  return ((stored << layout.lowShift) & layout.lowMask) | ((stored << layout.highShift) & layout.highMask);
}

/**
 * Entry that remembers "gfn has no memslot" (`make_mmio_spte`). The gfn bits covered by the L1TF mask are
 * set to 1 in place and kept five bits further up.
 * @param access access bits of the rule set; stored as far as the MMIO access mask reaches
 * @param generation 64-bit memslot generation, as it was before the lookup that found no slot
 */
export function makeMmioSpte(format: SpteFormat, gfn: Gfn, access: number, generation: bigint): Spte {
  const gpa = BigInt(gfn) << 12n;
  const hidden = format.shadowNonpresentOrRsvdMask;
  return BigInt.asUintN(
    64,
    generationBits(format.rules.mmioGeneration, generation) |
      format.shadowMmioValue |
      (BigInt(access) & format.shadowMmioAccessMask) |
      gpa |
      hidden |
      ((gpa & hidden) << SHADOW_NONPRESENT_OR_RSVD_MASK_LEN),
  ) as Spte;
}

/** Number of kernel warnings that creating an MMIO entry raises: 1 where MMIO caching should have prevented it. */
export function makeMmioSpteWarnings(format: SpteFormat): number {
  return format.rules.warnsOnMmioSpteWithoutCaching && format.shadowMmioValue === 0n ? 1 : 0;
}
