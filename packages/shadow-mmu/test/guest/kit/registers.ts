import type { GuestPagingRegisters } from "../../../src/role/guest-paging-registers.js";

/** A 64-bit guest with WP and NX on four levels, changed as asked. */
export function longMode(changes: Partial<GuestPagingRegisters> = {}): GuestPagingRegisters {
  return {
    cr0Pg: true,
    cr0Wp: true,
    cr3: 0x1000,
    cr4Pae: true,
    cr4Pse: false,
    cr4Smep: false,
    cr4Smap: false,
    cr4Pke: false,
    cr4La57: false,
    eferNx: true,
    eferLma: true,
    ...changes,
  };
}
