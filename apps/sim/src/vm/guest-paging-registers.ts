import type { GuestPagingRegisters } from "@kvm-age/shadow-mmu";
import type { CompleteGuestPagingState } from "@kvm-age/vcpu";

/** The registers that the shadow MMU reads, from the hardware's. */
export function guestPagingRegisters(state: CompleteGuestPagingState): GuestPagingRegisters {
  const { mode, cr3, cr0Wp, cr4Smep, cr4Smap, eferNx } = state;
  return {
    cr0Pg: mode !== "none",
    cr0Wp,
    cr3,
    cr4Pae: mode !== "none",
    cr4Pse: false,
    cr4Smep,
    cr4Smap,
    cr4Pke: false,
    cr4La57: mode === "5-level",
    eferNx,
    eferLma: mode === "4-level" || mode === "5-level",
  };
}
