import type { Cpu } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, type Slot } from "@kvm-age/memslot";
import type { KvmRmapHead } from "@kvm-age/rmap";
import { type Gfn, KVM_MAX_HUGEPAGE_LEVEL, type PgLevel } from "@kvm-age/spte";
import { forEachRmapSpte } from "../leaf-rmap/for-each-rmap-spte.js";
import { gfnToRmap } from "../leaf-rmap/gfn-to-rmap.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { spteWriteProtect } from "../spte/spte-write-protect.js";

/** `rmap_write_protect`: `spteWriteProtect` for every entry of a list; whether a flush is due. Held: `mmu_lock` for write. */
export function rmapWriteProtect(mmu: ShadowMmu, cpu: Cpu, head: KvmRmapHead, ptProtect: boolean): boolean {
  return forEachRmapSpte(cpu, head, (sptep) => spteWriteProtect(mmu, cpu, sptep, ptProtect));
}

/** The rmaps' part of `kvmMmuSlotGfnWriteProtect`. */
export function rmapsWriteProtectGfn(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfn: Gfn,
  minLevel: PgLevel,
): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  if (!kvmMemslotsHaveRmaps(mmu.memslots, cpu)) return false;
  let flush = false;
  for (let level: number = minLevel; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    flush = rmapWriteProtect(mmu, cpu, gfnToRmap(cpu, slot, gfn, level as PgLevel), true) || flush;
  }
  return flush;
}

/**
 * `kvm_mmu_slot_gfn_write_protect`: makes a gfn unwritable for good, in every table of every MMU, because it holds a guest page table or
 * is tracked. Held: `mmu_lock` for write.
 *
 * @param minLevel smaller pages are left alone
 * @returns whether a flush is due before the lock is dropped
 */
export function kvmMmuSlotGfnWriteProtect(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfn: Gfn,
  minLevel: PgLevel,
): boolean {
  const flush = rmapsWriteProtectGfn(mmu, cpu, slot, gfn, minLevel);
  return mmu.otherMmu.writeProtectGfn(cpu, slot, gfn, minLevel) || flush;
}
