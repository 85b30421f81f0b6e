import type { TraceRecord } from "@kvm-age/trace";

/**
 * Whether the kernel was built to prove its MMU (`CONFIG_KVM_PROVE_MMU`). Such a kernel empties a root by entries of 1 GiB first, so that
 * leaves are still there when their tables go, and are frozen; others empty tables before they go. True if the trace does not tell.
 */
export function wasBuiltToProveMmu(records: readonly TraceRecord[], frozen: bigint): boolean {
  let zapped = false;
  for (const record of records) {
    if (record.kind !== "kvm") continue;
    if (record.name === "kvm_mmu_zap_all_fast") zapped = true;
    if (!zapped || record.name !== "kvm_tdp_mmu_spte_changed" || record.fields.level !== 1) continue;
    return record.fields.new_spte === frozen;
  }
  return true;
}
