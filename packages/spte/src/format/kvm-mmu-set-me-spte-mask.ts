import type { SpteFormat } from "./spte-format.js";

/**
 * Sets the memory-encryption bits: `value` goes into every entry for RAM, `mask` is what belongs to
 * encryption at all (kernel `kvm_mmu_set_me_spte_mask`). A value outside its mask is one warning, and both
 * become 0.
 */
export function kvmMmuSetMeSpteMask(format: SpteFormat, value: bigint, mask: bigint): SpteFormat {
  const valid = (value & ~mask) === 0n;
  return Object.freeze({
    ...format,
    shadowMeValue: valid ? value : 0n,
    shadowMeMask: valid ? mask : 0n,
    warnings: format.warnings + (valid ? 0 : 1),
  });
}
