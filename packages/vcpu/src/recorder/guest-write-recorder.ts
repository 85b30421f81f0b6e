import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";

/** Hears of every guest write before the access that makes it returns: the truth a dirty log is checked against. */
export interface GuestWriteRecorder {
  /** Called inside the guest, on TLB hits as well. */
  recordWrite(cpu: Cpu, gfn: Gfn): void;
}

/** Records nothing. */
export const noWriteRecorder: GuestWriteRecorder = { recordWrite() {} };
