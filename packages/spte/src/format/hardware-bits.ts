/** Present bit of a normal entry, Read bit of an EPT entry (`PT_PRESENT_MASK`, `VMX_EPT_READABLE_MASK`). */
export const PT_PRESENT_MASK: bigint = 1n << 0n;
/** Write permission, both layouts (`PT_WRITABLE_MASK`, `VMX_EPT_WRITABLE_MASK`). */
export const PT_WRITABLE_MASK: bigint = 1n << 1n;
/** User bit of a normal entry (`PT_USER_MASK`). */
export const PT_USER_MASK: bigint = 1n << 2n;
/** Accessed bit of a normal entry (`PT_ACCESSED_MASK`). */
export const PT_ACCESSED_MASK: bigint = 1n << 5n;
/** Dirty bit of a normal entry (`PT_DIRTY_MASK`). */
export const PT_DIRTY_MASK: bigint = 1n << 6n;
/** Page size: a leaf above 4 KiB, both layouts (`PT_PAGE_SIZE_MASK`). */
export const PT_PAGE_SIZE_MASK: bigint = 1n << 7n;
/** No-execute bit of a normal entry (`PT64_NX_MASK`). */
export const PT64_NX_MASK: bigint = 1n << 63n;

/** EPT memory type, bits 5:3 (`VMX_EPT_MT_MASK`). */
export const VMX_EPT_MT_MASK: bigint = 7n << 3n;
/** EPT: ignore the guest's PAT (`VMX_EPT_IPAT_BIT`). */
export const VMX_EPT_IPAT_BIT: bigint = 1n << 6n;
/** EPT Accessed bit (`VMX_EPT_ACCESS_BIT`). */
export const VMX_EPT_ACCESS_BIT: bigint = 1n << 8n;
/** EPT Dirty bit (`VMX_EPT_DIRTY_BIT`). */
export const VMX_EPT_DIRTY_BIT: bigint = 1n << 9n;
/** EPT read, write and execute together (`VMX_EPT_RWX_MASK`). */
export const VMX_EPT_RWX_MASK: bigint = 7n;
/** Write+execute without read, an EPT misconfiguration, used to recognise MMIO (`VMX_EPT_MISCONFIG_WX_VALUE`). */
export const VMX_EPT_MISCONFIG_WX_VALUE: bigint = 6n;
/** EPT: suppress the virtualization exception (`VMX_EPT_SUPPRESS_VE_BIT`). */
export const VMX_EPT_SUPPRESS_VE_BIT: bigint = 1n << 63n;

/** Host-writable bit of the default layout (`DEFAULT_SPTE_HOST_WRITABLE`). */
export const DEFAULT_SPTE_HOST_WRITABLE: bigint = 1n << 9n;
/** MMU-writable bit of the default layout (`DEFAULT_SPTE_MMU_WRITABLE`). */
export const DEFAULT_SPTE_MMU_WRITABLE: bigint = 1n << 10n;
