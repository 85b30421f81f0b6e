import type { Address, Cpu } from "@kvm-age/machine";
import {
  descAppend,
  descSpteCount,
  descTailCount,
  moreWord,
  PTE_LIST_EXT,
  type PteListDesc,
  tailCountWord,
} from "../descriptor/pte-list-desc.js";
import { RmapCorruptionError } from "../errors.js";
import {
  isRmapMany,
  type KvmRmapHead,
  manyRmapValue,
  rmapDescriptor,
  rmapSingle,
  singleRmapValue,
} from "../head/kvm-rmap-head.js";
import { RmapIterator } from "../iterator/rmap-iterator.js";
import type { KvmRmaps } from "../kvm-rmaps.js";
import { kvmRmapLock, kvmRmapUnlock } from "../lock/kvm-rmap-lock.js";

/** Where a list takes descriptors from: a stock that was filled before `mmu_lock` was taken (`kvm_mmu_memory_cache`). */
export interface PteListDescCache {
  /** Hands out one zero-filled descriptor. */
  allocate(cpu: Cpu): Address;
}

function isInList(cpu: Cpu, value: bigint, sptep: Address): boolean {
  const iterator = new RmapIterator();
  let entry = iterator.getFirst(cpu, value);
  while (entry !== 0 && entry !== sptep) entry = iterator.getNext(cpu);
  return entry !== 0;
}

/** Turns a single entry into a descriptor of two; returns the head's new value. */
function growFromSingle(cpu: Cpu, cache: PteListDescCache, first: Address, second: Address): bigint {
  const desc = cache.allocate(cpu) as PteListDesc;
  descAppend(cpu, desc, 0, first);
  descAppend(cpu, desc, 1, second);
  return manyRmapValue(desc);
}

/** Puts a descriptor with one slot in front of the full `older`, behind which `count` slots lie in all; returns the head's new value. */
function growFromFull(
  cpu: Cpu,
  cache: PteListDescCache,
  older: PteListDesc,
  count: number,
  sptep: Address,
): bigint {
  const desc = cache.allocate(cpu) as PteListDesc;
  cpu.writeOnce32(moreWord(desc), older);
  cpu.writeOnce32(tailCountWord(desc), count);
  descAppend(cpu, desc, 0, sptep);
  return manyRmapValue(desc);
}

/**
 * Adds a slot to a list (kernel `pte_list_add`). Held: `mmu_lock` for write; the list is locked meanwhile.
 *
 * @param cache gives at most one descriptor; an error of its own leaves the list locked
 * @param sptep address of an SPTE in a table, a multiple of 8
 * @returns the number of entries before, for `RMAP_RECYCLE_THRESHOLD`
 * @throws RmapCorruptionError if the slot is in the list already and duplicates are looked for.
 */
export function pteListAdd(
  rmaps: KvmRmaps,
  cpu: Cpu,
  cache: PteListDescCache,
  sptep: Address,
  head: KvmRmapHead,
): number {
  const old = kvmRmapLock(rmaps, cpu, head);
  if (rmaps.duplicateCheck && isInList(cpu, old, sptep)) {
    kvmRmapUnlock(rmaps, cpu, head, old);
    throw new RmapCorruptionError("added twice", head, old, sptep);
  }
  if (old === 0n) {
    kvmRmapUnlock(rmaps, cpu, head, singleRmapValue(sptep));
    return 0;
  }
  if (!isRmapMany(old)) {
    kvmRmapUnlock(rmaps, cpu, head, growFromSingle(cpu, cache, rmapSingle(old), sptep));
    return 1;
  }
  const desc = rmapDescriptor(old);
  const used = descSpteCount(cpu, desc);
  const count = descTailCount(cpu, desc) + used;
  let value = old;
  if (used === PTE_LIST_EXT) value = growFromFull(cpu, cache, desc, count, sptep);
  else descAppend(cpu, desc, used, sptep);
  kvmRmapUnlock(rmaps, cpu, head, value);
  return count;
}
