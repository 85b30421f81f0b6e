import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";

/** Hears of every guest access before it returns: the truth about which pages are hot. */
export interface GuestAccessRecorder {
  /** Called inside the guest, on TLB hits as well. */
  recordAccess(cpu: Cpu, gfn: Gfn): void;
}

/** Records nothing. */
export const noAccessRecorder: GuestAccessRecorder = { recordAccess() {} };
