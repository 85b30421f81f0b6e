import type { Cpu } from "@kvm-age/machine";

/** Hears of every guest access before it returns: the truth about which pages are hot. */
export interface GuestAccessRecorder {
  /**
   * Called inside the guest, on TLB hits as well.
   *
   * @param page number of the page at the address that the access was made to: a gfn for a guest without paging over EPT
   *   or NPT, otherwise the number of a guest-linear page
   */
  recordAccess(cpu: Cpu, page: number): void;
}

/** Records nothing. */
export const noAccessRecorder: GuestAccessRecorder = { recordAccess() {} };
