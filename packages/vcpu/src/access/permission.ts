/** What a translation allows, the same for both page formats: one bit per kind of access. */
export const PERMISSION_READ = 1;
/** Writes. In a TLB entry: writes without a walk, so set only once the leaf's Dirty flag is known to be set. */
export const PERMISSION_WRITE = 2;
/** Instruction fetches of the guest's kernel. */
export const PERMISSION_EXECUTE = 4;
/** Instruction fetches of the guest's user code. */
export const PERMISSION_USER_EXECUTE = 8;
/** Everything: where the AND over the levels of a walk begins. */
export const PERMISSION_ALL = 15;
