import type { AccessKind } from "../access/access-kind.js";
import { PERMISSION_USER_EXECUTE } from "../access/permission.js";
import {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "./pferr.js";

// Intel SDM vol. 3, "Exit qualification for EPT violations".
const DATA_READ = 1n << 0n;
const DATA_WRITE = 1n << 1n;
const INSTRUCTION_FETCH = 1n << 2n;
/** Bits 5:3: what the entries of the walk allow together; bit 6: user execute, under mode-based execute control. */
const PERMISSIONS_SHIFT = 3n;
const ALL_PERMISSIONS = 0xfn << PERMISSIONS_SHIFT;
/** Bit 7: the guest linear address is valid. */
const LINEAR_ADDRESS_VALID = 1n << 7n;
/** Bit 8: the access was to the final address. */
const FINAL_ADDRESS = 1n << 8n;

function accessBit(kind: AccessKind): bigint {
  if (kind === "read") return DATA_READ;
  return kind === "write" ? DATA_WRITE : INSTRUCTION_FETCH;
}

/**
 * The exit qualification of an EPT violation: 0x181, 0x182, 0x184 for a read, write or fetch that meets a non-present
 * entry.
 *
 * @param permissions AND over the levels, in `PERMISSION_…` bits; 0 if an entry was not present
 * @param modeBased whether bit 6 is defined
 */
export function eptExitQualification(kind: AccessKind, permissions: number, modeBased: boolean): bigint {
  const reported = BigInt(modeBased ? permissions : permissions & ~PERMISSION_USER_EXECUTE);
  return accessBit(kind) | (reported << PERMISSIONS_SHIFT) | LINEAR_ADDRESS_VALID | FINAL_ADDRESS;
}

/**
 * The PFERR form of an EPT violation, as KVM's Intel side translates it: read to U, write to W, fetch to F, any
 * permission to P, bit 8 to `GUEST_FINAL`. A user fetch carries U as well where the hardware can tell (mode-based).
 */
export function pferrOfEptViolation(qualification: bigint, kind: AccessKind, modeBased: boolean): bigint {
  let errorCode = PFERR_GUEST_FINAL_MASK;
  if ((qualification & ALL_PERMISSIONS) !== 0n) errorCode |= PFERR_PRESENT_MASK;
  if (kind === "read") return errorCode | PFERR_USER_MASK;
  if (kind === "write") return errorCode | PFERR_WRITE_MASK;
  return errorCode | PFERR_FETCH_MASK | (modeBased && kind === "user-fetch" ? PFERR_USER_MASK : 0n);
}
