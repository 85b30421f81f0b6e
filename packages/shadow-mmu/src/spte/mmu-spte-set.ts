import type { Address, Cpu } from "@kvm-age/machine";
import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { setSpte } from "./set-spte.js";

/**
 * `mmu_spte_set`: fills an entry that is not present. Held: `mmu_lock` for write, or nobody else can reach the table. A plain store
 * does: nobody writes to an entry that is not present without the lock.
 *
 * @throws ShadowPageCorruptionError if the entry is present.
 */
export function mmuSpteSet(mmu: ShadowMmu, cpu: Cpu, sptep: Address, newSpte: Spte): void {
  const oldSpte = cpu.readOnce(sptep) as Spte;
  if (isShadowPresentPte(oldSpte)) {
    throw new ShadowPageCorruptionError("present entry was set", { sptep, oldSpte, newSpte });
  }
  setSpte(mmu, cpu, sptep, newSpte);
}
