import { PERMISSION_ANY_EXECUTE, PERMISSION_ANY_WRITE } from "../access/permission.js";
import { WALK_FAULT_GUEST_PAGE, WALK_FAULT_PRESENT, WALK_FAULT_RESERVED } from "../walk/walk-fault.js";
import {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_GUEST_PAGE_MASK,
  PFERR_PRESENT_MASK,
  PFERR_RSVD_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "./pferr.js";

/**
 * EXITINFO1 of a nested page fault (AMD APM vol. 2 §15.25.6), which is a PFERR code as it is. Nested accesses are user
 * accesses, so U is always set: 0x100000004, 0x100000006, 0x100000014 for a read, write or fetch that meets a
 * non-present entry; 0x200000006 for an entry of the guest's page tables.
 *
 * @param access what was asked, in `PERMISSION_…` bits
 * @param flags of the walk's fault
 */
export function npfErrorCode(access: number, flags: number): bigint {
  return (
    PFERR_USER_MASK |
    ((flags & WALK_FAULT_PRESENT) === 0 ? 0n : PFERR_PRESENT_MASK) |
    ((flags & WALK_FAULT_RESERVED) === 0 ? 0n : PFERR_RSVD_MASK) |
    ((access & PERMISSION_ANY_WRITE) === 0 ? 0n : PFERR_WRITE_MASK) |
    ((access & PERMISSION_ANY_EXECUTE) === 0 ? 0n : PFERR_FETCH_MASK) |
    ((flags & WALK_FAULT_GUEST_PAGE) === 0 ? PFERR_GUEST_FINAL_MASK : PFERR_GUEST_PAGE_MASK)
  );
}
