/** What the text says about the kernel that wrote it: how often each layout was seen. */
export interface TextEvidence {
  /** Page-table pages whose access is printed with three letters (`wux`): before 7.3. */
  threeLetterAccess: number;
  /** Page-table pages whose access is printed with four letters (`rwux`): 7.3. */
  fourLetterAccess: number;
  /** `kvm_mmu_spte_requested` without ` access`: before 7.3. */
  requestedWithoutAccess: number;
  /** `kvm_mmu_spte_requested` with ` access`: 7.3. */
  requestedWithAccess: number;
  /** Page-table pages in the words of trace-cmd's plugin, which reads the role of an older kernel whatever the kernel. */
  pluginPageText: number;
}

/** Nothing seen yet. */
export function createTextEvidence(): TextEvidence {
  return {
    threeLetterAccess: 0,
    fourLetterAccess: 0,
    requestedWithoutAccess: 0,
    requestedWithAccess: 0,
    pluginPageText: 0,
  };
}
