import type { Cpu } from "@kvm-age/machine";
import { type Gfn, makeMmioSpte, type Spte } from "@kvm-age/spte";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";

/**
 * `make_mmio_spte` for the current slots: the value that caches "no memslot here", tagged with the memslot generation. A slot that
 * appears meanwhile changes the generation, so an entry that is installed too late is not believed.
 *
 * @param asId address space of the entry's root
 * @param access access bits of the rule set, kept in the entry as far as the format has room
 */
export function makeNoSlotSpte(mmu: FaultingMmu, cpu: Cpu, asId: number, gfn: Gfn, access: number): Spte {
  return makeMmioSpte(mmu.format, gfn, access, mmu.memslots.generation(cpu, asId));
}
