import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { descMore, descSpte, descSpteCount, type PteListDesc } from "../descriptor/pte-list-desc.js";
import { isRmapMany, type KvmRmapHead, rmapDescriptor, rmapSingle } from "../head/kvm-rmap-head.js";
import type { KvmRmaps } from "../kvm-rmaps.js";
import { kvmRmapLock, kvmRmapUnlock } from "../lock/kvm-rmap-lock.js";
import { pteListRemove } from "./pte-list-remove.js";

/** Makes one SPTE non-present and does what that entails (kernel `mmu_spte_clear_track_bits`). Takes no rmap lock. */
export type ClearSpte = (cpu: Cpu, sptep: Address) => void;

/**
 * Clears one SPTE, then removes its slot from the list (kernel `kvm_zap_one_rmap_spte`). In this order a lockless reader may
 * find the cleared entry, never a slot that has been given another use. Held: `mmu_lock` for write.
 *
 * @throws RmapCorruptionError as `pteListRemove` does.
 */
export function kvmZapOneRmapSpte(
  rmaps: KvmRmaps,
  cpu: Cpu,
  head: KvmRmapHead,
  sptep: Address,
  clearSpte: ClearSpte,
): void {
  clearSpte(cpu, sptep);
  pteListRemove(rmaps, cpu, sptep, head);
}

/** Clears every SPTE of a descriptor and frees it; returns the next one. */
function zapDescriptor(rmaps: KvmRmaps, cpu: Cpu, desc: PteListDesc, clearSpte: ClearSpte): PteListDesc {
  const count = descSpteCount(cpu, desc);
  for (let index = 0; index < count; index++) clearSpte(cpu, descSpte(cpu, desc, index));
  const more = descMore(cpu, desc);
  rmaps.descriptors.free(cpu, desc);
  return more;
}

/**
 * Clears every SPTE of a list and empties it (kernel `kvm_zap_all_rmap_sptes`). The list is locked throughout. Held:
 * `mmu_lock` for write.
 *
 * @returns whether there was any
 */
export function kvmZapAllRmapSptes(
  rmaps: KvmRmaps,
  cpu: Cpu,
  head: KvmRmapHead,
  clearSpte: ClearSpte,
): boolean {
  const old = kvmRmapLock(rmaps, cpu, head);
  if (old === 0n) return false;
  if (isRmapMany(old)) {
    let desc = rmapDescriptor(old);
    while (desc !== NULL_ADDRESS) desc = zapDescriptor(rmaps, cpu, desc, clearSpte);
  } else clearSpte(cpu, rmapSingle(old));
  kvmRmapUnlock(rmaps, cpu, head, 0n);
  return true;
}
