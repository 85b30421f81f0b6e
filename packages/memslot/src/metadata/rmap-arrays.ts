import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { type Gfn, KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import { gfnToIndex, slotLpages } from "../address/gfn-to-index.js";
import { MissingMetadataError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import { type Slot, slotBaseGfn, slotNpages, slotRmapWord } from "../slot/slot.js";

/** Bytes of an rmap head: one 64-bit word. */
export const RMAP_HEAD_BYTES = 8;

/** The rmap-head array of `level` (1 … 3), or `NULL_ADDRESS`. */
export function slotRmapArray(cpu: Cpu, slot: Slot, level: PgLevel): Address {
  return cpu.readOnce32(slotRmapWord(slot, level)) as Address;
}

/** Number of rmap heads of `level` that the slot has when it has any. */
export function slotRmapHeads(cpu: Cpu, slot: Slot, level: PgLevel): number {
  return slotLpages(slotBaseGfn(cpu, slot), slotNpages(cpu, slot), level);
}

/**
 * Address of the rmap head of `gfn` at `level` (kernel `gfn_to_rmap`): a 64-bit word whose meaning belongs to
 * the shadow MMU.
 *
 * @param gfn in the slot
 * @param level 1 … 3
 * @throws MissingMetadataError if the slot has no rmap arrays.
 */
export function slotRmapHead(cpu: Cpu, slot: Slot, gfn: Gfn, level: PgLevel): Address {
  const array = slotRmapArray(cpu, slot, level);
  if (array === NULL_ADDRESS) throw new MissingMetadataError("rmap", slot, gfn);
  return offset(array, gfnToIndex(gfn, slotBaseGfn(cpu, slot), level) * RMAP_HEAD_BYTES);
}

/**
 * Gives `slot` the rmap arrays it does not have yet (kernel `memslot_rmap_alloc`). Held: `slots_arch_lock`.
 *
 * @throws OutOfMemoryError; what was allocated stays and is freed with the slot.
 */
export function memslotRmapAlloc(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  for (let level = PG_LEVEL_4K as PgLevel; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    if (slotRmapArray(cpu, slot, level as PgLevel) !== NULL_ADDRESS) continue;
    const bytes = slotRmapHeads(cpu, slot, level as PgLevel) * RMAP_HEAD_BYTES;
    cpu.writeOnce32(slotRmapWord(slot, level as PgLevel), memslots.arrays.allocate(cpu, bytes));
  }
}

/** Frees the rmap arrays of a slot that nobody can reach. */
export function memslotRmapFree(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  for (let level = PG_LEVEL_4K as PgLevel; level <= KVM_MAX_HUGEPAGE_LEVEL; level++) {
    const array = slotRmapArray(cpu, slot, level as PgLevel);
    if (array === NULL_ADDRESS) continue;
    memslots.arrays.free(cpu, array, slotRmapHeads(cpu, slot, level as PgLevel) * RMAP_HEAD_BYTES);
    cpu.writeOnce32(slotRmapWord(slot, level as PgLevel), NULL_ADDRESS);
  }
}
