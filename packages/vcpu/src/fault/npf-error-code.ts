import type { AccessKind } from "../access/access-kind.js";
import { WALK_FAULT_PRESENT, WALK_FAULT_RESERVED } from "../walk/walk-fault.js";
import {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_PRESENT_MASK,
  PFERR_RSVD_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "./pferr.js";

/**
 * EXITINFO1 of a nested page fault (AMD APM vol. 2 §15.25.6), which is a PFERR code as it is. Nested accesses are user
 * accesses, so U is always set: 0x100000004, 0x100000006, 0x100000014 for a read, write or fetch that meets a
 * non-present entry.
 *
 * @param flags of the walk's fault
 */
export function npfErrorCode(kind: AccessKind, flags: number): bigint {
  let errorCode = PFERR_GUEST_FINAL_MASK | PFERR_USER_MASK;
  if ((flags & WALK_FAULT_PRESENT) !== 0) errorCode |= PFERR_PRESENT_MASK;
  if ((flags & WALK_FAULT_RESERVED) !== 0) errorCode |= PFERR_RSVD_MASK;
  if (kind === "write") return errorCode | PFERR_WRITE_MASK;
  return kind === "read" ? errorCode : errorCode | PFERR_FETCH_MASK;
}
