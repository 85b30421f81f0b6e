import { type Address, type Cpu, offset } from "@kvm-age/machine";

/** A page fault that the guest takes itself (#PF). */
export interface GuestPageFault {
  /** Guest-linear address of the access, in bytes: CR2. */
  readonly gva: number;
  /** P, W, U, RSVD and F in bits 0 to 4. */
  readonly errorCode: number;
}

// Layout, written by the vCPU's thread only: three u32, 4 bytes unused, a u64.
/** 1 once there was a fault. */
const TAKEN = 0;
/** 1 while a fault that the MMU queued waits for its access to end. */
const QUEUED = 4;
const ERROR_CODE = 8;
const GVA = 16;

/** Bytes of a guest-fault record; all zero is "no fault yet". */
export const LAST_GUEST_FAULT_BYTES = 24;

/** Records a fault that the guest takes. */
export function writeLastGuestFault(cpu: Cpu, record: Address, fault: GuestPageFault): void {
  cpu.writeOnce32(offset(record, TAKEN), 1);
  cpu.writeOnce32(offset(record, ERROR_CODE), fault.errorCode);
  cpu.writeOnce(offset(record, GVA), BigInt(fault.gva));
}

/** Records a fault that the guest takes when the MMU answers "inject". */
export function queueGuestFault(cpu: Cpu, record: Address, fault: GuestPageFault): void {
  writeLastGuestFault(cpu, record, fault);
  cpu.writeOnce32(offset(record, QUEUED), 1);
}

/** Takes the queued fault; false if there is none. */
export function takeQueuedGuestFault(cpu: Cpu, record: Address): boolean {
  if (cpu.readOnce32(offset(record, QUEUED)) === 0) return false;
  cpu.writeOnce32(offset(record, QUEUED), 0);
  return true;
}

/** Reads the record; null if there was no fault yet. */
export function readLastGuestFault(cpu: Cpu, record: Address): GuestPageFault | null {
  if (cpu.readOnce32(offset(record, TAKEN)) === 0) return null;
  return {
    gva: Number(cpu.readOnce(offset(record, GVA))),
    errorCode: cpu.readOnce32(offset(record, ERROR_CODE)),
  };
}
