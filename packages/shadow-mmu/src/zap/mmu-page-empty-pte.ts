import type { Address, Cpu } from "@kvm-age/machine";
import {
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  roleGuestMode,
  roleLevel,
  type Spte,
} from "@kvm-age/spte";
import { dropParentPte } from "../link/drop-parent-pte.js";
import { hasParents } from "../link/parent-ptes.js";
import { type KvmMmuPage, NO_PAGE, spRole } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { dropSpte } from "../spte/drop-spte.js";
import { mmuSpteClearNoTrack } from "../spte/mmu-spte-clear-no-track.js";

/**
 * `mmu_page_zap_pte` without its last step: empties the entry at `sptep` of page `sp`. Held: `mmu_lock` for write; the
 * caller flushes.
 *
 * @returns a nested table that nothing points to any more, `NO_PAGE` if there is none
 */
export function mmuPageEmptyPte(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, sptep: Address): KvmMmuPage {
  const spte = cpu.readOnce(sptep) as Spte;
  if (!isShadowPresentPte(spte)) {
    if (isMmioSpte(mmu.format, spte)) mmuSpteClearNoTrack(mmu, cpu, sptep);
    return NO_PAGE;
  }
  if (isLastSpte(spte, roleLevel(spRole(cpu, sp)))) {
    dropSpte(mmu, cpu, sptep);
    return NO_PAGE;
  }
  const child = spteToChildSp(mmu, cpu, spte);
  dropParentPte(mmu, cpu, child, sptep);
  const isOrphan = mmu.tdpEnabled && roleGuestMode(spRole(cpu, child)) && !hasParents(cpu, child);
  return isOrphan ? child : NO_PAGE;
}
