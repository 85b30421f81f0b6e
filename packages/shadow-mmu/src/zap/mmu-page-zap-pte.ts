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
import { type KvmMmuPage, spRole } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { dropSpte } from "../spte/drop-spte.js";
import { mmuSpteClearNoTrack } from "../spte/mmu-spte-clear-no-track.js";
import type { InvalidList } from "./invalid-list.js";
import { prepareZapPage } from "./kvm-mmu-prepare-zap-page.js";

/**
 * `mmu_page_zap_pte`: empties the entry at `sptep` of page `sp`. Held: `mmu_lock` for write; the caller flushes.
 *
 * @param list where a nested table goes that nothing points to any more, as it will hardly be used again; null keeps it
 * @returns how many pages were put on the list
 */
export function mmuPageZapPte(
  mmu: ShadowMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  sptep: Address,
  list: InvalidList | null,
): number {
  const spte = cpu.readOnce(sptep) as Spte;
  if (!isShadowPresentPte(spte)) {
    if (isMmioSpte(mmu.format, spte)) mmuSpteClearNoTrack(mmu, cpu, sptep);
    return 0;
  }
  if (isLastSpte(spte, roleLevel(spRole(cpu, sp)))) {
    dropSpte(mmu, cpu, sptep);
    return 0;
  }
  const child = spteToChildSp(mmu, cpu, spte);
  dropParentPte(mmu, cpu, child, sptep);
  if (list === null || !mmu.tdpEnabled || !roleGuestMode(spRole(cpu, child))) return 0;
  return hasParents(cpu, child) ? 0 : prepareZapPage(mmu, cpu, child, list).nrZapped;
}
