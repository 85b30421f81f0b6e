import { bitRange } from "./bit-range.js";
import { PT_PRESENT_MASK } from "./hardware-bits.js";
import { kvmMmuSetMmioSpteMask } from "./kvm-mmu-set-mmio-spte-mask.js";
import type { SpteFormat } from "./spte-format.js";

/**
 * AMD with memory encryption enabled: physical address bits from `x86_phys_bits` up are reserved, except the
 * C-bit, so MMIO entries use all bits above (kernel `svm_adjust_mmio_mask`). Returns the format unchanged
 * when the host has no C-bit. With 52 usable bits nothing is left over and MMIO caching ends up off.
 */
export function svmAdjustMmioMask(format: SpteFormat): SpteFormat {
  const { smeMeMask, x86PhysBits } = format.host;
  if (smeMeMask === 0n) return format;
  const firstReserved = smeMeMask === 1n << BigInt(x86PhysBits) ? x86PhysBits + 1 : x86PhysBits;
  const mask = firstReserved < 52 ? bitRange(firstReserved, 51) | PT_PRESENT_MASK : 0n;
  const accessMask = BigInt(format.rules.accWriteMask | format.rules.accUserMask);
  return kvmMmuSetMmioSpteMask(format, mask, mask, accessMask);
}
