/** What a translation allows: one bit per kind of access. */
export const PERMISSION_READ = 1;
/** Supervisor writes. In a TLB entry: writes without a walk, so set only once the Dirty flags are known to be set. */
export const PERMISSION_WRITE = 2;
/** Instruction fetches of the guest's kernel. */
export const PERMISSION_EXECUTE = 4;
/** Instruction fetches of the guest's user code. */
export const PERMISSION_USER_EXECUTE = 8;
/** Reads in user mode. */
export const PERMISSION_USER_READ = 16;
/** Writes in user mode; in a TLB entry as `PERMISSION_WRITE`. */
export const PERMISSION_USER_WRITE = 32;

/** Both kinds of write. */
export const PERMISSION_ANY_WRITE: number = PERMISSION_WRITE | PERMISSION_USER_WRITE;
/** All three kinds of user access. */
export const PERMISSION_ANY_USER: number =
  PERMISSION_USER_READ | PERMISSION_USER_WRITE | PERMISSION_USER_EXECUTE;
/** Both kinds of fetch. */
export const PERMISSION_ANY_EXECUTE: number = PERMISSION_EXECUTE | PERMISSION_USER_EXECUTE;
