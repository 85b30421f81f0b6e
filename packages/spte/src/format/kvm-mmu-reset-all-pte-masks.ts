import { updatePermissionBitmask } from "../permission/update-permission-bitmask.js";
import type { RuleSet } from "../rules/rule-set.js";
import { bitRange } from "./bit-range.js";
import {
  DEFAULT_SPTE_HOST_WRITABLE,
  DEFAULT_SPTE_MMU_WRITABLE,
  PT_ACCESSED_MASK,
  PT_DIRTY_MASK,
  PT_PRESENT_MASK,
  PT_USER_MASK,
  PT64_NX_MASK,
} from "./hardware-bits.js";
import type { HostCpu } from "./host-cpu.js";
import { kvmMmuSetMmioSpteMask } from "./kvm-mmu-set-mmio-spte-mask.js";
import { SHADOW_NONPRESENT_OR_RSVD_MASK_LEN, SPTE_ADDRESS_BITS } from "./spte-constants.js";
import type { MmuMode, SpteFormat } from "./spte-format.js";

/** The two masks that keep non-present entries harmless on CPUs affected by L1TF. */
interface L1tfMasks {
  readonly nonpresentOrRsvdMask: bigint;
  readonly lowerGfnMask: bigint;
  readonly warnings: number;
}

/**
 * Splits the gfn field of MMIO entries so that their physical address always points beyond memory. Possible
 * only when five address bits below bit 52 are free above the cache tag; otherwise it warns and does without.
 */
function l1tfMasks(host: HostCpu): L1tfMasks {
  const reserved = Number(SHADOW_NONPRESENT_OR_RSVD_MASK_LEN);
  const applicable = host.bugL1tf && host.x86CacheBits < 52 - reserved;
  const low = applicable ? host.x86CacheBits - reserved : host.x86PhysBits;
  return {
    nonpresentOrRsvdMask: applicable ? bitRange(low, host.x86CacheBits - 1) : 0n,
    lowerGfnMask: bitRange(12, low - 1),
    warnings: host.bugL1tf && !applicable ? 1 : 0,
  };
}

/** The default layout, before any vendor call; MMIO fields are filled in by the caller. */
function defaultLayout(mode: MmuMode, rules: RuleSet, host: HostCpu): SpteFormat {
  const l1tf = l1tfMasks(host);
  return {
    mode,
    rules,
    host,
    kvmAdEnabled: true,
    shadowHostWritableMask: DEFAULT_SPTE_HOST_WRITABLE,
    shadowMmuWritableMask: DEFAULT_SPTE_MMU_WRITABLE,
    shadowNxMask: PT64_NX_MASK,
    shadowXsMask: 0n,
    shadowXuMask: 0n,
    shadowUserMask: PT_USER_MASK,
    shadowAccessedMask: PT_ACCESSED_MASK,
    shadowDirtyMask: PT_DIRTY_MASK,
    shadowPresentMask: PT_PRESENT_MASK,
    shadowAccTrackMask: 0n,
    shadowMemtypeMask: 0n,
    shadowMeValue: 0n,
    shadowMeMask: 0n,
    shadowMmioValue: 0n,
    shadowMmioMask: 0n,
    shadowMmioAccessMask: 0n,
    enableMmioCaching: false,
    shadowNonpresentOrRsvdMask: l1tf.nonpresentOrRsvdMask,
    shadowNonpresentOrRsvdLowerGfnMask: l1tf.lowerGfnMask,
    spteBaseAddrMask: SPTE_ADDRESS_BITS & ~host.smeMeMask,
    frozenSpte: rules.frozenSpte,
    executeControl: false,
    permissions: updatePermissionBitmask(rules, {
      ept: mode === "ept",
      tdp: mode === "ept" || mode === "npt",
    }),
    warnings: l1tf.warnings,
  };
}

/**
 * The masks as they are after module load, before the vendor has its say: the default layout, the L1TF masks
 * and the default MMIO mask, which is the highest physical address bit as long as the CPU does not use it
 * (kernel `kvm_mmu_reset_all_pte_masks`, after the snapshot taken by `kvm_mmu_spte_module_init`).
 */
export function kvmMmuResetAllPteMasks(mode: MmuMode, rules: RuleSet, host: HostCpu): SpteFormat {
  const mask = host.maxPhyAddr < 52 ? (1n << 51n) | PT_PRESENT_MASK : 0n;
  const accessMask = BigInt(rules.accWriteMask | rules.accUserMask);
  return kvmMmuSetMmioSpteMask(defaultLayout(mode, rules, host), mask, mask, accessMask);
}
