import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { type FaultErrno, faultErrnoName } from "./fault-errno.js";

/**
 * What the hardware reported to the MMU. `violation`: the translation was absent or did not allow the access (EPT violation; #NPF; #PF).
 * `misconfiguration`: an entry that hardware refuses (EPT misconfiguration exit; #NPF or #PF with RSVD).
 */
export type FaultKind = "violation" | "misconfiguration";

/** A fault as it was delivered to the MMU. */
export interface LastFault {
  readonly kind: FaultKind;
  /**
   * Guest-physical address of the access, in bytes: of the final one, or of an entry of the guest's own page tables
   * (`GUEST_PAGE` in the error code). Over shadow tables the guest-linear address.
   */
  readonly gpa: number;
  /**
   * EPT violation: the exit qualification. NPT: EXITINFO1. Shadow tables: the error code of the #PF. EPT misconfiguration: 0, as
   * that exit has no qualification.
   */
  readonly hardwareCode: bigint;
  /** What the MMU was given: PFERR form. */
  readonly errorCode: bigint;
  /** Why the MMU failed; null if it did not. */
  readonly errno: FaultErrno | null;
}

// Layout, written by the vCPU's thread only: two u32, then three u64.
const KIND = 0;
const ERRNO = 4;
const GPA = 8;
const HARDWARE_CODE = 16;
const ERROR_CODE = 24;

/** Bytes of a fault record; all zero is "no fault yet". */
export const LAST_FAULT_BYTES = 32;

const KINDS: readonly (FaultKind | null)[] = [null, "violation", "misconfiguration"];

/** Records a fault that is about to be delivered, without an errno. */
export function writeLastFault(cpu: Cpu, record: Address, fault: Omit<LastFault, "errno">): void {
  cpu.writeOnce32(offset(record, KIND), KINDS.indexOf(fault.kind));
  cpu.writeOnce32(offset(record, ERRNO), 0);
  cpu.writeOnce(offset(record, GPA), BigInt(fault.gpa));
  cpu.writeOnce(offset(record, HARDWARE_CODE), fault.hardwareCode);
  cpu.writeOnce(offset(record, ERROR_CODE), fault.errorCode);
}

/** Adds the number of the errno that the MMU answered with. */
export function writeLastFaultErrno(cpu: Cpu, record: Address, errno: number): void {
  cpu.writeOnce32(offset(record, ERRNO), errno);
}

/** Reads the record; null if no fault was delivered yet. */
export function readLastFault(cpu: Cpu, record: Address): LastFault | null {
  const kind = KINDS[cpu.readOnce32(offset(record, KIND))] ?? null;
  if (kind === null) return null;
  return {
    kind,
    gpa: Number(cpu.readOnce(offset(record, GPA))),
    hardwareCode: cpu.readOnce(offset(record, HARDWARE_CODE)),
    errorCode: cpu.readOnce(offset(record, ERROR_CODE)),
    errno: faultErrnoName(cpu.readOnce32(offset(record, ERRNO))),
  };
}
