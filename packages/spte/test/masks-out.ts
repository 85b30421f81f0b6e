import type { SpteFormat } from "../src/index.js";
import { type Fields, hex } from "./vector-file.js";

/** The masks of a format under the names and in the form of the vector files. */
export function masksOut(format: SpteFormat): Fields {
  const executeMasks: Fields =
    format.rules.eptXuMask === 0n
      ? { shadow_x_mask: hex(format.shadowXsMask), shadow_memtype_mask: hex(format.shadowMemtypeMask) }
      : { shadow_xs_mask: hex(format.shadowXsMask), shadow_xu_mask: hex(format.shadowXuMask) };
  return {
    ...executeMasks,
    shadow_host_writable_mask: hex(format.shadowHostWritableMask),
    shadow_mmu_writable_mask: hex(format.shadowMmuWritableMask),
    shadow_nx_mask: hex(format.shadowNxMask),
    shadow_user_mask: hex(format.shadowUserMask),
    shadow_accessed_mask: hex(format.shadowAccessedMask),
    shadow_dirty_mask: hex(format.shadowDirtyMask),
    shadow_mmio_value: hex(format.shadowMmioValue),
    shadow_mmio_mask: hex(format.shadowMmioMask),
    shadow_mmio_access_mask: hex(format.shadowMmioAccessMask),
    shadow_present_mask: hex(format.shadowPresentMask),
    shadow_me_value: hex(format.shadowMeValue),
    shadow_me_mask: hex(format.shadowMeMask),
    shadow_acc_track_mask: hex(format.shadowAccTrackMask),
    shadow_nonpresent_or_rsvd_mask: hex(format.shadowNonpresentOrRsvdMask),
    shadow_nonpresent_or_rsvd_lower_gfn_mask: hex(format.shadowNonpresentOrRsvdLowerGfnMask),
    spte_base_addr_mask: hex(format.spteBaseAddrMask),
    host_maxphyaddr: format.host.maxPhyAddr,
    enable_mmio_caching: format.enableMmioCaching,
    kvm_ad_enabled: format.kvmAdEnabled,
    warnings: format.warnings,
  };
}
