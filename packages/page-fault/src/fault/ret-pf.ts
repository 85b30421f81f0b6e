/** Result of handling a fault (`RET_PF_*`). */
export const RetPf = {
  /** Go on with the next step of the fault path. */
  continue: 0,
  /** Let the guest try again. */
  retry: 1,
  /** The access must be emulated. */
  emulate: 2,
  /** A write to a page that must stay write-protected. */
  writeProtected: 3,
  /** This path does not apply. */
  invalid: 4,
  /** The fault is fixed. */
  fixed: 5,
  /** The entry allowed the access already: a stale translation, or another processor was first. */
  spurious: 6,
  /** The fault cannot be handled; `KvmPageFault.errno` names the reason. */
  error: 7,
} as const;

export type RetPf = (typeof RetPf)[keyof typeof RetPf];
