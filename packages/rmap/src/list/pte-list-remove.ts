import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import {
  descMore,
  descSpte,
  descSpteCount,
  descSpteWord,
  type PteListDesc,
  spteCountWord,
} from "../descriptor/pte-list-desc.js";
import { RmapCorruptionError } from "../errors.js";
import {
  isRmapMany,
  type KvmRmapHead,
  manyRmapValue,
  rmapDescriptor,
  rmapSingle,
} from "../head/kvm-rmap-head.js";
import type { KvmRmaps } from "../kvm-rmaps.js";
import { kvmRmapLock, kvmRmapUnlock } from "../lock/kvm-rmap-lock.js";

/** The word of the chain that holds `sptep`, from the first descriptor on in index order; 0 if none does. */
function findInChain(cpu: Cpu, first: PteListDesc, sptep: Address): Address {
  for (let desc = first; desc !== NULL_ADDRESS; desc = descMore(cpu, desc)) {
    const count = descSpteCount(cpu, desc);
    for (let index = 0; index < count; index++) {
      if (descSpte(cpu, desc, index) === sptep) return descSpteWord(desc, index);
    }
  }
  return NULL_ADDRESS;
}

/**
 * `pte_list_desc_remove_entry`: fills the hole at `word` with the last slot of the first descriptor, of `count`, so that all
 * others stay full; frees that descriptor if it is empty then.
 *
 * @returns the head's new value
 */
function removeFromChain(
  rmaps: KvmRmaps,
  cpu: Cpu,
  old: bigint,
  first: PteListDesc,
  count: number,
  word: Address,
): bigint {
  const last = descSpteWord(first, count - 1);
  cpu.writeOnce32(word, cpu.readOnce32(last));
  cpu.writeOnce32(last, NULL_ADDRESS);
  cpu.writeOnce32(spteCountWord(first), count - 1);
  if (count > 1) return old;
  const more = descMore(cpu, first);
  // The head still points there, but nobody follows it: readers wait for the lock, writers for mmu_lock.
  rmaps.descriptors.free(cpu, first);
  return more === NULL_ADDRESS ? 0n : manyRmapValue(more);
}

/** What the head is to hold without `sptep`, or what is wrong with the list. */
function withoutEntry(rmaps: KvmRmaps, cpu: Cpu, old: bigint, sptep: Address): bigint | string {
  if (old === 0n) return "removed from an empty list";
  if (!isRmapMany(old)) return rmapSingle(old) === sptep ? 0n : "removed, but another slot is the only entry";
  const first = rmapDescriptor(old);
  const word = findInChain(cpu, first, sptep);
  if (word === NULL_ADDRESS) return "removed, but not in the list";
  const count = descSpteCount(cpu, first);
  if (count === 0) return "removed from a list whose first descriptor is empty";
  return removeFromChain(rmaps, cpu, old, first, count, word);
}

/**
 * Removes a slot from a list (kernel `pte_list_remove`). Held: `mmu_lock` for write; the list is locked meanwhile, so a
 * reader that saw the slot has finished with it when this returns.
 *
 * @throws RmapCorruptionError if the slot is not in the list, or the list's first descriptor is empty.
 */
export function pteListRemove(rmaps: KvmRmaps, cpu: Cpu, sptep: Address, head: KvmRmapHead): void {
  const old = kvmRmapLock(rmaps, cpu, head);
  const value = withoutEntry(rmaps, cpu, old, sptep);
  kvmRmapUnlock(rmaps, cpu, head, typeof value === "string" ? old : value);
  if (typeof value === "string") throw new RmapCorruptionError(value, head, old, sptep);
}
