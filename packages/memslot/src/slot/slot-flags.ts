/** User flag: the slot's dirty pages are logged (kernel `KVM_MEM_LOG_DIRTY_PAGES`, bit 0). */
export const KVM_MEM_LOG_DIRTY_PAGES = 1;
/** User flag: guest writes leave the guest instead of reaching memory (kernel `KVM_MEM_READONLY`, bit 1). */
export const KVM_MEM_READONLY = 2;
/** Internal flag: the slot is being deleted or moved (kernel `KVM_MEMSLOT_INVALID`, bit 16). */
export const KVM_MEMSLOT_INVALID = 65536;
