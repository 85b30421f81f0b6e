/** Memslot generation, bit 63: an update is in progress (`KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS`). */
export const KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS: bigint = 1n << 63n;
