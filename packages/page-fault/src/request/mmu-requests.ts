// Bits of a flush domain's request words that belong to the MMUs; bit 0 is `REQUEST_TLB_FLUSH`.

/** `KVM_REQ_MMU_FREE_OBSOLETE_ROOTS`: the vCPU's roots may have been invalidated; drop those before the next entry. */
export const REQUEST_MMU_FREE_OBSOLETE_ROOTS = 2;

/** `KVM_REQ_MMU_SYNC`: synchronise the unsync shadow pages under the current root before the next entry. */
export const REQUEST_MMU_SYNC = 4;
