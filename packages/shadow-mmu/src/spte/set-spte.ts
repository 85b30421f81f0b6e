import type { Address, Cpu } from "@kvm-age/machine";
import { isEptVePossible, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/**
 * Refuses an entry that could raise a virtualization exception in the guest (the kernel warns in `__set_spte`).
 *
 * @throws ShadowPageCorruptionError
 */
export function checkNoVe(mmu: ShadowMmu, sptep: Address, spte: Spte): void {
  if (!isEptVePossible(mmu.format, spte)) return;
  throw new ShadowPageCorruptionError("entry could raise #VE in the guest", { sptep, spte });
}

/**
 * `__set_spte`: a plain store. Whatever hardware or a lockless writer put into the entry since the caller looked is overwritten, so
 * only where nothing can be lost by that but an Accessed bit. Lockless readers see the old or the new value.
 */
export function setSpte(mmu: ShadowMmu, cpu: Cpu, sptep: Address, spte: Spte): void {
  checkNoVe(mmu, sptep, spte);
  cpu.writeOnce(sptep, spte);
}
