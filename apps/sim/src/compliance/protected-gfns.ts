import type { Cpu } from "@kvm-age/machine";
import { syncedGuestTables } from "@kvm-age/shadow-mmu";
import type { Vm } from "../vm/vm.js";

/** The gfns of address space 0 that no guest may write to without an exit: shadowed guest tables that are in sync. */
export function protectedGfns({ shadow }: Vm, cpu: Cpu): ReadonlySet<number> {
  if (shadow === null) return new Set();
  const tables = syncedGuestTables(shadow, cpu).filter(({ asId }) => asId === 0);
  return new Set(tables.map(({ gfn }) => gfn));
}
