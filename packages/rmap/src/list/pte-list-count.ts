import type { Cpu } from "@kvm-age/machine";
import { descSpteCount, descTailCount } from "../descriptor/pte-list-desc.js";
import { isRmapMany, type KvmRmapHead, kvmRmapGet, rmapDescriptor } from "../head/kvm-rmap-head.js";

/** Entries of a list (kernel `pte_list_count`). Held: `mmu_lock` for write. */
export function pteListCount(cpu: Cpu, head: KvmRmapHead): number {
  const value = kvmRmapGet(cpu, head);
  if (value === 0n) return 0;
  if (!isRmapMany(value)) return 1;
  const desc = rmapDescriptor(value);
  return descTailCount(cpu, desc) + descSpteCount(cpu, desc);
}
