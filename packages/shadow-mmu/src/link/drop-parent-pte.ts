import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import { type KvmMmuPage, parentPtes } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteClearNoTrack } from "../spte/mmu-spte-clear-no-track.js";
import { mmuPageRemoveParentPte } from "./parent-ptes.js";

/**
 * `drop_parent_pte`: takes one link to `sp` away: first out of its list, then the entry. Hardware may use the old link
 * until the caller has flushed. Held: `mmu_lock` for write.
 */
export function dropParentPte(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, parentPte: Address): void {
  mmuPageRemoveParentPte(mmu, cpu, sp, parentPte);
  mmuSpteClearNoTrack(mmu, cpu, parentPte);
}

/** `kvm_mmu_unlink_parents`: takes every link to `sp` away. Held: `mmu_lock` for write. */
export function kvmMmuUnlinkParents(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  for (;;) {
    // A removal ends a walk, so each one starts anew.
    const parentPte = new RmapIterator().getFirst(cpu, kvmRmapGet(cpu, parentPtes(sp)));
    if (parentPte === NULL_ADDRESS) return;
    dropParentPte(mmu, cpu, sp, parentPte);
  }
}
