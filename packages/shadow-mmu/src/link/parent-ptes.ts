import type { Address, Cpu, ObjectCache } from "@kvm-age/machine";
import { kvmRmapGet, pteListAdd, pteListRemove, RmapIterator } from "@kvm-age/rmap";
import { type KvmMmuPage, parentPtes } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/**
 * `mmu_page_add_parent_pte`: the entry at `parentPte` points to `sp` from now on. Held: `mmu_lock` for write.
 *
 * @param cache stock of rmap descriptors
 */
export function mmuPageAddParentPte(
  mmu: ShadowMmu,
  cpu: Cpu,
  cache: ObjectCache,
  sp: KvmMmuPage,
  parentPte: Address,
): void {
  pteListAdd(mmu.rmaps, cpu, cache, parentPte, parentPtes(sp));
}

/** `mmu_page_remove_parent_pte`: the entry at `parentPte` is about to stop pointing to `sp`. Held: `mmu_lock` for write. */
export function mmuPageRemoveParentPte(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, parentPte: Address): void {
  pteListRemove(mmu.rmaps, cpu, parentPte, parentPtes(sp));
}

/** Whether any entry points to `sp`. Held: `mmu_lock` in any mode. */
export function hasParents(cpu: Cpu, sp: KvmMmuPage): boolean {
  return kvmRmapGet(cpu, parentPtes(sp)) !== 0n;
}

/** Calls `visit` for every entry that points to `sp`; it changes none of the links. Held: `mmu_lock` in any mode. */
export function forEachParentPte(cpu: Cpu, sp: KvmMmuPage, visit: (parentPte: Address) => void): void {
  const iterator = new RmapIterator();
  let parentPte = iterator.getFirst(cpu, kvmRmapGet(cpu, parentPtes(sp)));
  for (; parentPte !== 0; parentPte = iterator.getNext(cpu)) visit(parentPte);
}
