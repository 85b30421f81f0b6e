import type { Address, Cpu } from "@kvm-age/machine";
import { type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import { isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";

/**
 * `for_each_rmap_spte`: visits every entry of a list, which `visit` must not change, and ORs the answers. Held: `mmu_lock` for write, so
 * the list is still; its bit is not needed, and a lockless ager may hold it meanwhile.
 *
 * @throws ShadowPageCorruptionError if an entry is not present.
 */
export function forEachRmapSpte(cpu: Cpu, head: KvmRmapHead, visit: (sptep: Address) => boolean): boolean {
  const iterator = new RmapIterator();
  let result = false;
  for (
    let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
    sptep !== 0;
    sptep = iterator.getNext(cpu)
  ) {
    const spte = cpu.readOnce(sptep) as Spte;
    if (!isShadowPresentPte(spte)) {
      throw new ShadowPageCorruptionError("entry of an rmap is not present", { head, sptep, spte });
    }
    result = visit(sptep) || result;
  }
  return result;
}
