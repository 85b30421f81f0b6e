import {
  PERMISSION_ANY_EXECUTE,
  PERMISSION_ANY_WRITE,
  PERMISSION_READ,
  PERMISSION_USER_EXECUTE,
  PERMISSION_USER_READ,
} from "../access/permission.js";
import { WALK_FAULT_GUEST_PAGE, WALK_FAULT_RIGHTS } from "../walk/walk-fault.js";
import {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_GUEST_PAGE_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "./pferr.js";

// Intel SDM vol. 3, "Exit qualification for EPT violations". The advanced information of bits 11:9 is not modelled.
const DATA_READ = 1n << 0n;
const DATA_WRITE = 1n << 1n;
const INSTRUCTION_FETCH = 1n << 2n;
/** Bits 5:3: what the entries of the walk allow together; bit 6: user execute, under mode-based execute control. */
const PERMISSIONS_SHIFT = 3n;
const ALL_PERMISSIONS = 0xfn << PERMISSIONS_SHIFT;
/** Bit 7: the guest linear address is valid. */
const LINEAR_ADDRESS_VALID = 1n << 7n;
/** Bit 8: the access was to the final address, not to an entry of the guest's page tables. */
const FINAL_ADDRESS = 1n << 8n;

const ANY_READ = PERMISSION_READ | PERMISSION_USER_READ;

/**
 * The exit qualification of an EPT violation: 0x181, 0x182, 0x184 for a read, write or fetch that meets a non-present
 * entry.
 *
 * @param access what was asked, in `PERMISSION_…` bits: more than one for an entry of the guest's page tables under EPT
 *   A/D, which is read and written
 * @param flags of the walk's fault
 * @param modeBased whether bit 6 is defined
 */
export function eptExitQualification(access: number, flags: number, modeBased: boolean): bigint {
  const rights = flags & WALK_FAULT_RIGHTS;
  const reported = BigInt(modeBased ? rights : rights & ~PERMISSION_USER_EXECUTE);
  return (
    ((access & ANY_READ) === 0 ? 0n : DATA_READ) |
    ((access & PERMISSION_ANY_WRITE) === 0 ? 0n : DATA_WRITE) |
    ((access & PERMISSION_ANY_EXECUTE) === 0 ? 0n : INSTRUCTION_FETCH) |
    (reported << PERMISSIONS_SHIFT) |
    LINEAR_ADDRESS_VALID |
    ((flags & WALK_FAULT_GUEST_PAGE) === 0 ? FINAL_ADDRESS : 0n)
  );
}

/**
 * The PFERR form of an EPT violation, as KVM's Intel side translates it: write to W, fetch to F, any
 * permission to P, bit 8 to `GUEST_FINAL`, its absence to `GUEST_PAGE`. A user fetch carries U as well where the hardware
 * can tell (mode-based), and until 6.15 a read.
 *
 * @param readReportsUser whether a read is U (`eptReadReportsUser` of the kernel's rule set)
 */
export function pferrOfEptViolation(
  qualification: bigint,
  access: number,
  modeBased: boolean,
  readReportsUser: boolean,
): bigint {
  const userFetch = modeBased && (access & PERMISSION_USER_EXECUTE) !== 0;
  const userRead = readReportsUser && (qualification & DATA_READ) !== 0n;
  return (
    ((qualification & ALL_PERMISSIONS) === 0n ? 0n : PFERR_PRESENT_MASK) |
    (userRead || userFetch ? PFERR_USER_MASK : 0n) |
    ((qualification & DATA_WRITE) === 0n ? 0n : PFERR_WRITE_MASK) |
    ((qualification & INSTRUCTION_FETCH) === 0n ? 0n : PFERR_FETCH_MASK) |
    ((qualification & FINAL_ADDRESS) === 0n ? PFERR_GUEST_PAGE_MASK : PFERR_GUEST_FINAL_MASK)
  );
}
