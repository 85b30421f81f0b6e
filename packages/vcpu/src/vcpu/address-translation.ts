import type { Cpu } from "@kvm-age/machine";

/**
 * How a processor translates the addresses of its guest under the guest's present registers. What a walk says beside its
 * result stands in the fields until the next walk.
 */
export interface AddressTranslation {
  /** The address that the MMU's tables refused: guest-physical, or guest-linear over shadow tables. */
  readonly faultAddress: number;
  /** What was asked of them, in `PERMISSION_…` bits. */
  readonly faultAccess: number;
  /** Addresses below this exist now. */
  limit(cpu: Cpu): number;
  /**
   * One walk for an access that needs `permission` (one bit); caches what it finds. Returns the host pfn (0 or above),
   * `WALK_RACED`, `WALK_NO_ADDRESS`, or a negative number that `walkFaultFlags` explains.
   */
  walk(cpu: Cpu, address: number, permission: number): number;
}
