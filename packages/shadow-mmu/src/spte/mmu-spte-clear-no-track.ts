import type { Address, Cpu } from "@kvm-age/machine";
import { SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { setSpte } from "./set-spte.js";

/**
 * `mmu_spte_clear_no_track`: makes an entry that points to a table, or caches MMIO, non-present. Held: `mmu_lock` for write. A plain
 * store does: nobody else writes to such entries, and an Accessed bit that hardware sets is read by nobody.
 */
export function mmuSpteClearNoTrack(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  setSpte(mmu, cpu, sptep, SHADOW_NONPRESENT_VALUE);
}
