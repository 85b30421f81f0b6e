import { InvalidMmioAccessMaskError } from "../errors.js";
import { SHADOW_NONPRESENT_OR_RSVD_MASK_LEN } from "./spte-constants.js";
import type { SpteFormat } from "./spte-format.js";

/** Whether entries recognised by (value, mask) could be confused with something else. */
function isUnusableMmioValue(format: SpteFormat, value: bigint, mask: bigint): boolean {
  const relocatedGfnBits = format.shadowNonpresentOrRsvdMask << SHADOW_NONPRESENT_OR_RSVD_MASK_LEN;
  return (
    (mask & ~format.rules.spteMmioAllowedMask) !== 0n ||
    (value & BigInt.asUintN(64, relocatedGfnBits)) !== 0n ||
    (value & mask) !== value ||
    (value !== 0n && (format.frozenSpte & mask) === value)
  );
}

/**
 * Says how MMIO entries are recognised: `(spte & mask) === value` (kernel `kvm_mmu_set_mmio_spte_mask`).
 * A value of 0, given or resulting from a refused one, switches MMIO caching off. Each refusal, and a value
 * that overlaps gfn bits, counts as one warning.
 * @param accessMask access bits stored in an MMIO entry, in [0, 2^32)
 * @throws InvalidMmioAccessMaskError when `accessMask` does not fit in 32 bits
 */
export function kvmMmuSetMmioSpteMask(
  format: SpteFormat,
  value: bigint,
  mask: bigint,
  accessMask: bigint,
): SpteFormat {
  if (BigInt.asUintN(32, accessMask) !== accessMask) throw new InvalidMmioAccessMaskError(accessMask);
  const overlapsGfn = (value & format.shadowNonpresentOrRsvdLowerGfnMask) !== 0n;
  const wanted = format.host.allowMmioCaching ? value : 0n;
  const refused = isUnusableMmioValue(format, wanted, mask);
  const accepted = refused ? 0n : wanted;
  return Object.freeze({
    ...format,
    shadowMmioValue: accepted,
    shadowMmioMask: mask,
    shadowMmioAccessMask: accessMask,
    enableMmioCaching: accepted !== 0n,
    warnings: format.warnings + (overlapsGfn ? 1 : 0) + (refused ? 1 : 0),
  });
}
