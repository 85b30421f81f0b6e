/** `pfn` of a `kvm_mmu_spte_requested` outside every slot (`KVM_PFN_NOSLOT`): bit 63, which a double holds exactly. */
export const KVM_PFN_NOSLOT: number = 2 ** 63;
