import type { Address, Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import { pteListRemove } from "@kvm-age/rmap";
import { kvmMmuRoleAsId, roleLevel } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { gfnToRmap } from "./gfn-to-rmap.js";

/**
 * `rmap_remove`: takes an entry, which is not present any more, off the list of its gfn. The address space is the table's, not a
 * vCPU's. When it returns no lockless walk holds the slot any more, so the table may be freed or the entry get another use. Held:
 * `mmu_lock` for write, and `kvm->srcu` or `slots_lock`.
 *
 * @throws ShadowPageCorruptionError if the gfn lies in no slot.
 */
export function rmapRemove(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  const role = spRole(cpu, sp);
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(sptep));
  const slot = mmu.memslots.gfnToMemslot(cpu, kvmMmuRoleAsId(role), gfn);
  if (slot === NULL_SLOT) {
    throw new ShadowPageCorruptionError("leaf outside every slot", { sptep, gfn, role });
  }
  pteListRemove(mmu.rmaps, cpu, sptep, gfnToRmap(cpu, slot, gfn, roleLevel(role)));
}
