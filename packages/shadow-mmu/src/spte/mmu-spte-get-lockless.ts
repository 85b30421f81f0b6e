import type { Address, Cpu } from "@kvm-age/machine";
import type { Spte } from "@kvm-age/spte";

/** `mmu_spte_get_lockless`: the entry as it is at one moment; it may be another the next. One 64-bit load, never torn. */
export function mmuSpteGetLockless(cpu: Cpu, sptep: Address): Spte {
  return cpu.readOnce(sptep) as Spte;
}
