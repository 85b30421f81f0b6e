// The page-fault error code as KVM passes it around (`PFERR_…`): the architectural bits, and two above bit 31 that
// AMD's nested page fault defines and KVM's Intel side synthesises.
/** `PFERR_PRESENT_MASK`: the translation was present and did not allow the access. */
export const PFERR_PRESENT_MASK: bigint = 1n << 0n;
/** `PFERR_WRITE_MASK`. */
export const PFERR_WRITE_MASK: bigint = 1n << 1n;
/**
 * `PFERR_USER_MASK`: on NPT every nested access; on EPT a read, or a user fetch under mode-based execute control; over shadow
 * tables an access in user mode.
 */
export const PFERR_USER_MASK: bigint = 1n << 2n;
/** `PFERR_RSVD_MASK`: a reserved bit was set (NPT, shadow tables), or the entry is an EPT misconfiguration. */
export const PFERR_RSVD_MASK: bigint = 1n << 3n;
/** `PFERR_FETCH_MASK`: an instruction fetch. */
export const PFERR_FETCH_MASK: bigint = 1n << 4n;
/** `PFERR_GUEST_FINAL_MASK`: the fault is on the final address, not on a walk of the guest's own page tables. */
export const PFERR_GUEST_FINAL_MASK: bigint = 1n << 32n;
/** `PFERR_GUEST_PAGE_MASK`: the fault is on the address of an entry of the guest's own page tables. */
export const PFERR_GUEST_PAGE_MASK: bigint = 1n << 33n;
