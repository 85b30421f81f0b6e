import type { GuestPagingRegisters } from "@kvm-age/shadow-mmu";

/** How the recorded guest translates its addresses. */
export interface GuestPaging {
  readonly registers: GuestPagingRegisters;
}
