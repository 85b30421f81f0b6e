/**
 * Outcome of a guest access: a host pfn (0 or above) or one of the negative constants below. A number, so that the hot
 * path makes no object; what happened is in `Vcpu.lastFault` and `Vcpu.lastGuestFault`.
 */
export type AccessResult = number;

/** The MMU asked for emulation (MMIO, or a write to a protected guest page table). The vCPU is outside the guest. */
export const ACCESS_EMULATE = -1;
/** The MMU failed to resolve the fault; `lastFault` has the errno. The vCPU is outside the guest. */
export const ACCESS_FAILED = -2;
/**
 * The guest took a page fault of its own (#PF); `lastGuestFault` has the error code and the address. If its page tables
 * said so by themselves there was no exit and the vCPU is inside the guest; if the MMU injected the fault it is outside.
 */
export const ACCESS_GUEST_PAGE_FAULT = -3;
