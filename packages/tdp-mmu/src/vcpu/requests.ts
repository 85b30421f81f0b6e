/** `KVM_REQ_MMU_FREE_OBSOLETE_ROOTS`: the vCPU's root may have been invalidated; drop it before the next entry. */
export const REQUEST_MMU_FREE_OBSOLETE_ROOTS = 2;
