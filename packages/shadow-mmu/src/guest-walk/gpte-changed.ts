import type { Cpu } from "@kvm-age/machine";
import type { PgLevel } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { PTE_PREFETCH_NUM, type ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { gpteGpa } from "./guest-table.js";
import type { GuestWalk } from "./guest-walk.js";
import { kvmVcpuReadGuest } from "./kvm-vcpu-read-guest.js";

const GPTE_BYTES = 8;
const GROUP_BYTES = PTE_PREFETCH_NUM * GPTE_BYTES;

/** Reads the aligned group of entries around the leaf, for the comparison and for prefetching. False if it cannot be read. */
function readPrefetchPtes(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  base: number,
): boolean {
  for (let index = 0; index < PTE_PREFETCH_NUM; index++) {
    const gpte = kvmVcpuReadGuest(mmu, cpu, vcpu, base + index * GPTE_BYTES, true);
    if (gpte === null) return false;
    walk.prefetchPtes[index] = gpte;
  }
  return true;
}

/**
 * `gpte_changed`: whether the guest's entry of `level` is no longer what the walk read, or cannot be read. Called under `mmu_lock` once
 * the table that holds the entry is shadowed: write-protected, or unsync. It pairs with the emulated write: whoever raised
 * `indirect_shadow_pages` had a full barrier before this read, whoever writes guest memory has one before it reads that counter;
 * so either the new entry is seen here, or the writer finds the shadow page and zaps what was made of the old one.
 */
export function gpteChanged(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  level: PgLevel,
): boolean {
  const gpa = gpteGpa(walk, level);
  if (level > 1) return kvmVcpuReadGuest(mmu, cpu, vcpu, gpa, true) !== walk.ptes[level];
  const base = gpa - (gpa % GROUP_BYTES);
  if (!readPrefetchPtes(mmu, cpu, vcpu, walk, base)) return true;
  return walk.prefetchPtes[(gpa - base) / GPTE_BYTES] !== walk.ptes[level];
}
