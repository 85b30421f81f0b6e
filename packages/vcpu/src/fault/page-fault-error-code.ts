import { PERMISSION_ANY_EXECUTE, PERMISSION_ANY_USER, PERMISSION_ANY_WRITE } from "../access/permission.js";
import { WALK_FAULT_PRESENT, WALK_FAULT_RESERVED } from "../walk/walk-fault.js";

// Intel SDM vol. 3, "Page-fault exceptions", figure "Page-fault error code".
const PRESENT = 1 << 0;
const WRITE = 1 << 1;
const USER = 1 << 2;
const RESERVED = 1 << 3;
const FETCH = 1 << 4;

/**
 * The error code of a #PF: P if all entries were present, W, U, RSVD (then with P), and F.
 *
 * @param access what was asked, in `PERMISSION_…` bits
 * @param flags of the walk's fault
 * @param reportsFetches whether F is defined: EFER.NXE or CR4.SMEP
 */
export function pageFaultErrorCode(access: number, flags: number, reportsFetches: boolean): number {
  return (
    ((flags & WALK_FAULT_PRESENT) === 0 ? 0 : PRESENT) |
    ((access & PERMISSION_ANY_WRITE) === 0 ? 0 : WRITE) |
    ((access & PERMISSION_ANY_USER) === 0 ? 0 : USER) |
    ((flags & WALK_FAULT_RESERVED) === 0 ? 0 : RESERVED) |
    (reportsFetches && (access & PERMISSION_ANY_EXECUTE) !== 0 ? FETCH : 0)
  );
}
