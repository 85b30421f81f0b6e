import type { TraceIdentity } from "@kvm-age/trace";
import {
  PFERR_FETCH_MASK,
  PFERR_GUEST_FINAL_MASK,
  PFERR_GUEST_PAGE_MASK,
  PFERR_PRESENT_MASK,
  PFERR_USER_MASK,
  PFERR_WRITE_MASK,
} from "@kvm-age/vcpu";

// Intel SDM vol. 3, "Exit qualification for EPT violations".
const READ = 1n << 0n;
const WRITE = 1n << 1n;
const FETCH = 1n << 2n;
const PERMISSIONS = 0x78n;
const LINEAR_ADDRESS_VALID = 1n << 7n;
const FINAL_ADDRESS = 1n << 8n;

/** The error code with which `kvm_mmu_page_fault` is called, from what `kvm_page_fault` printed. */
export function pferrOf({ mode, format }: TraceIdentity, printed: bigint): bigint {
  return mode === "ept" ? pferrOfExitQualification(printed, format.rules.eptReadReportsUser) : printed;
}

function pferrOfExitQualification(qualification: bigint, readIsUser: boolean): bigint {
  const place = (qualification & FINAL_ADDRESS) === 0n ? PFERR_GUEST_PAGE_MASK : PFERR_GUEST_FINAL_MASK;
  return (
    (readIsUser && (qualification & READ) !== 0n ? BigInt(PFERR_USER_MASK) : 0n) |
    ((qualification & WRITE) === 0n ? 0n : BigInt(PFERR_WRITE_MASK)) |
    ((qualification & FETCH) === 0n ? 0n : BigInt(PFERR_FETCH_MASK)) |
    ((qualification & PERMISSIONS) === 0n ? 0n : BigInt(PFERR_PRESENT_MASK)) |
    ((qualification & LINEAR_ADDRESS_VALID) === 0n ? 0n : BigInt(place))
  );
}
