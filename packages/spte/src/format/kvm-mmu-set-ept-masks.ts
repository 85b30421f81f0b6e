import {
  PT_PRESENT_MASK,
  VMX_EPT_ACCESS_BIT,
  VMX_EPT_DIRTY_BIT,
  VMX_EPT_IPAT_BIT,
  VMX_EPT_MISCONFIG_WX_VALUE,
  VMX_EPT_MT_MASK,
  VMX_EPT_RWX_MASK,
  VMX_EPT_SUPPRESS_VE_BIT,
} from "./hardware-bits.js";
import { kvmMmuSetMmioSpteMask } from "./kvm-mmu-set-mmio-spte-mask.js";
import type { SpteFormat } from "./spte-format.js";

/**
 * Switches to the EPT layout (kernel `kvm_mmu_set_ept_masks`). The Accessed and Dirty masks are set even
 * without hardware A/D bits if KVM then keeps the same bits by itself.
 * @param hasAdBits whether the CPU maintains EPT A/D bits
 * @param hasExecOnly whether execute-only entries are possible; decides whether R is implied where the rule
 *   set's present mask carries it, and has no effect elsewhere
 */
export function kvmMmuSetEptMasks(format: SpteFormat, hasAdBits: boolean, hasExecOnly: boolean): SpteFormat {
  const { rules } = format;
  const impliedRead = rules.eptPresentMaskCarriesRead && !hasExecOnly ? PT_PRESENT_MASK : 0n;
  const hasMasks = hasAdBits || rules.softwareAdBits;
  const ept: SpteFormat = {
    ...format,
    kvmAdEnabled: hasAdBits,
    shadowUserMask: rules.eptUserMask,
    shadowAccessedMask: hasMasks ? VMX_EPT_ACCESS_BIT : 0n,
    shadowDirtyMask: hasMasks ? VMX_EPT_DIRTY_BIT : 0n,
    shadowNxMask: 0n,
    shadowXsMask: rules.eptXsMask,
    shadowXuMask: rules.eptXuMask,
    shadowPresentMask: VMX_EPT_SUPPRESS_VE_BIT | impliedRead,
    shadowAccTrackMask: rules.eptAccTrackMask,
    shadowMemtypeMask: VMX_EPT_MT_MASK | VMX_EPT_IPAT_BIT,
    shadowHostWritableMask: rules.eptSpteHostWritable,
    shadowMmuWritableMask: rules.eptSpteMmuWritable,
  };
  return kvmMmuSetMmioSpteMask(
    ept,
    VMX_EPT_MISCONFIG_WX_VALUE,
    VMX_EPT_RWX_MASK | VMX_EPT_SUPPRESS_VE_BIT,
    0n,
  );
}
