/** Slot ids, internal ones included: 0 … 32766 (kernel `KVM_MEM_SLOTS_NUM`). */
export const KVM_MEM_SLOTS_NUM = 32767;
/** Ids reserved for KVM's own slots on x86 (kernel `KVM_INTERNAL_MEM_SLOTS`). */
export const KVM_INTERNAL_MEM_SLOTS = 3;
/** Ids for user space: 0 … 32763 (kernel `KVM_USER_MEM_SLOTS`). */
export const KVM_USER_MEM_SLOTS: number = KVM_MEM_SLOTS_NUM - KVM_INTERNAL_MEM_SLOTS;
/** Internal slot of the real-mode task state segment (kernel `TSS_PRIVATE_MEMSLOT`). */
export const TSS_PRIVATE_MEMSLOT: number = KVM_USER_MEM_SLOTS;
/** Internal slot of the APIC access page (kernel `APIC_ACCESS_PAGE_PRIVATE_MEMSLOT`). */
export const APIC_ACCESS_PAGE_PRIVATE_MEMSLOT: number = KVM_USER_MEM_SLOTS + 1;
/** Internal slot of the identity page table (kernel `IDENTITY_PAGETABLE_PRIVATE_MEMSLOT`). */
export const IDENTITY_PAGETABLE_PRIVATE_MEMSLOT: number = KVM_USER_MEM_SLOTS + 2;
/** Pages of one slot at most: 2^31 - 1 (kernel `KVM_MEM_MAX_NR_PAGES`). */
export const KVM_MEM_MAX_NR_PAGES: number = 2 ** 31 - 1;
/**
 * Address spaces at most: 0 is normal memory, 1 system management mode (kernel `KVM_MAX_NR_ADDRESS_SPACES`).
 */
export const KVM_MAX_NR_ADDRESS_SPACES = 2;
