import type { Cpu } from "@kvm-age/machine";

/** Hears of every guest write before the access that makes it returns: the truth a dirty log is checked against. */
export interface GuestWriteRecorder {
  /**
   * Called inside the guest, on TLB hits as well.
   *
   * @param page number of the page at the address that the access was made to: a gfn for a guest without paging over EPT
   *   or NPT, otherwise the number of a guest-linear page
   */
  recordWrite(cpu: Cpu, page: number): void;
}

/** Records nothing. */
export const noWriteRecorder: GuestWriteRecorder = { recordWrite() {} };
