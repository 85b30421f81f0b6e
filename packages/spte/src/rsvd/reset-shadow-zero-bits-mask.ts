import { bitRange } from "../format/bit-range.js";
import type { SpteFormat } from "../format/spte-format.js";
import { KVM_MAX_HUGEPAGE_LEVEL, type PgLevel, PT32E_ROOT_LEVEL } from "../level/pg-level.js";
import { resetRsvdsBitsMask } from "./reset-rsvds-bits-mask.js";
import { resetRsvdsBitsMaskEpt } from "./reset-rsvds-bits-mask-ept.js";
import type { RsvdBits } from "./rsvd-bits.js";

/** Applies one change to every mask of the table. */
function mapMasks(bits: RsvdBits, change: (mask: bigint) => bigint): RsvdBits {
  const [small, large] = bits.rsvdBitsMask;
  return { ...bits, rsvdBitsMask: [small.map(change), large.map(change)] };
}

/**
 * Encryption bits: two-dimensional paging leaves them all to the hardware; shadow paging allows only those
 * that every entry carries.
 */
function withEncryptionBits(format: SpteFormat, rootLevel: PgLevel, bits: RsvdBits): RsvdBits {
  const { shadowMeMask, shadowMeValue } = format;
  if (shadowMeMask === 0n) return bits;
  if (format.mode === "ept" || format.mode === "npt") return mapMasks(bits, (mask) => mask & ~shadowMeMask);
  const [small, large] = bits.rsvdBitsMask;
  const restrict = (mask: bigint, index: number): bigint =>
    index < rootLevel ? (mask | shadowMeMask) & ~shadowMeValue : mask;
  return { ...bits, rsvdBitsMask: [small.map(restrict), large.map(restrict)] };
}

/**
 * Reserved bits of the entries KVM itself writes for an MMU of this format, for the check after `makeSpte`
 * and on MMIO faults (`reset_shadow_zero_bits_mask`, `reset_tdp_shadow_zero_bits_mask`).
 * @param rootLevel 4 or 5; ignored in `pae` mode, where it is 3
 * @param gbpages whether the host CPU has 1 GiB pages; default true
 * @throws InvalidPgLevelError when the root level is not 3, 4 or 5
 */
export function resetShadowZeroBitsMask(format: SpteFormat, rootLevel: PgLevel, gbpages = true): RsvdBits {
  const paBitsRsvd = bitRange(format.host.maxPhyAddr, 63);
  const level = format.mode === "pae" ? PT32E_ROOT_LEVEL : rootLevel;
  const bits =
    format.mode === "ept"
      ? resetRsvdsBitsMaskEpt({
          paBitsRsvd,
          execOnly: false,
          hugePageLevel: gbpages ? KVM_MAX_HUGEPAGE_LEVEL : 2,
        })
      : resetRsvdsBitsMask({ rootLevel: level, paBitsRsvd, nx: true, gbpages, amd: true });
  return withEncryptionBits(format, level, bits);
}
