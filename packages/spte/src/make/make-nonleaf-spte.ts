import type { Spte } from "../address/spte.js";
import { PT_PRESENT_MASK, PT_WRITABLE_MASK } from "../format/hardware-bits.js";
import { SPTE_MMU_PRESENT_MASK } from "../format/spte-constants.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Entry that points to a child table (`make_nonleaf_spte`). Grants everything; the leaf decides. A is set
 * from the start, as KVM never reads it on a non-leaf.
 * @param childPa physical address of the child table, 4 KiB aligned, in [0, 2^52)
 * @param adDisabled whether the child's entries have software A/D bits (`role.ad_disabled`)
 */
export function makeNonleafSpte(format: SpteFormat, childPa: bigint, adDisabled: boolean): Spte {
  return BigInt.asUintN(
    64,
    SPTE_MMU_PRESENT_MASK |
      childPa |
      format.shadowPresentMask |
      PT_PRESENT_MASK |
      PT_WRITABLE_MASK |
      format.shadowUserMask |
      format.shadowXsMask |
      format.shadowXuMask |
      format.shadowMeValue |
      (adDisabled ? format.rules.spteTdpAdDisabled : format.shadowAccessedMask),
  ) as Spte;
}
