import type { Cpu } from "@kvm-age/machine";
import { PFERR_RSVD_MASK } from "@kvm-age/page-fault";
import { PFERR_FETCH_MASK, PFERR_USER_MASK, PFERR_WRITE_MASK, type SpteFormat } from "@kvm-age/spte";
import { traceKvmMmuWalkerError } from "../trace/trace-guest-walk.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import type { GuestWalk } from "./guest-walk.js";

// Intel SDM vol. 3, "Exit qualification for EPT violations".
const EPT_VIOLATION_ACC_READ = 1n << 0n;
const EPT_VIOLATION_ACC_WRITE = 1n << 1n;
const EPT_VIOLATION_ACC_INSTR = 1n << 2n;
/** Bits 5:3 are bits 2:0 of the entries together. */
const RWX = 7n;
const RWX_TO_PROT_SHIFT = 3n;
/** Bit 6 under mode-based execute control: bit 10 of the entries together. */
const USER_EXECUTE = 1n << 10n;
const PROT_USER_EXEC = 1n << 6n;

/** Whether the access was a data read: told by U where reading is no access bit of its own, else by being nothing else. */
function isDataRead(format: SpteFormat, access: number): boolean {
  if (format.rules.accReadMask === 0) return (access & PFERR_USER_MASK) !== 0;
  return (access & (PFERR_WRITE_MASK | PFERR_FETCH_MASK)) === 0;
}

function exitQualification(format: SpteFormat, walk: GuestWalk): bigint {
  const { access, eptPermissions, walker } = walk;
  let qualification = BigInt.asUintN(64, (eptPermissions & RWX) << RWX_TO_PROT_SHIFT);
  if ((access & PFERR_WRITE_MASK) !== 0) qualification |= EPT_VIOLATION_ACC_WRITE;
  if (isDataRead(format, access)) qualification |= EPT_VIOLATION_ACC_READ;
  if ((access & PFERR_FETCH_MASK) !== 0) qualification |= EPT_VIOLATION_ACC_INSTR;
  const userExecutable = walker.cr4Smep && BigInt.asUintN(64, eptPermissions & USER_EXECUTE) !== 0n;
  return userExecutable ? qualification | PROT_USER_EXEC : qualification;
}

/**
 * The end of `walk_addr` for an access that the guest's tables do not allow: the error code, which repeats W and U of the access
 * and F where the mode tells fetches apart; for EPT the exit qualification instead, unless it is a misconfiguration.
 *
 * @param cause P, or RSVD and P, or 0 for an entry that is not present or cannot be read
 */
export function walkerError(format: SpteFormat, cpu: Cpu, walk: GuestWalk, cause: number): void {
  const { walker, access, addr } = walk;
  const repeated = PFERR_WRITE_MASK | PFERR_USER_MASK | (walker.hasPferrFetch ? PFERR_FETCH_MASK : 0);
  const errorCode = cause | (access & repeated);
  const nested = walker.kind === MmuKind.nestedNpt || walker.kind === MmuKind.nestedEpt;
  const violation = walker.ept && (errorCode & PFERR_RSVD_MASK) === 0;
  walk.fault = violation
    ? { address: addr, errorCode, nested, exitQualification: exitQualification(format, walk) }
    : { address: addr, errorCode, nested };
  if (cpu.tracing) traceKvmMmuWalkerError(cpu, errorCode);
}
