import type { Address, Cpu } from "@kvm-age/machine";
import { forEachParentPte } from "../link/parent-ptes.js";
import { type KvmMmuPage, sptepIndex, unsyncChildrenWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { testAndSetUnsyncChildBit } from "./unsync-child-bitmap.js";

/**
 * `mark_unsync`: the entry at `sptep` leads to something unsync. Marks it, and with the first mark of a page every entry
 * that leads to that page, up to the roots: whoever comes down from one finds the way. Held: `mmu_lock` for write, or for
 * read and `mmu_unsync_pages_lock`.
 */
export function markUnsync(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  if (testAndSetUnsyncChildBit(cpu, sp, sptepIndex(sptep))) return;
  const before = cpu.readOnce32(unsyncChildrenWord(sp));
  cpu.writeOnce32(unsyncChildrenWord(sp), before + 1);
  if (before === 0) kvmMmuMarkParentsUnsync(mmu, cpu, sp);
}

/** `kvm_mmu_mark_parents_unsync`: marks every entry that points to `sp`. Held: the same. */
export function kvmMmuMarkParentsUnsync(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  forEachParentPte(cpu, sp, (parentPte) => markUnsync(mmu, cpu, parentPte));
}
