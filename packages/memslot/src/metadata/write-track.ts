import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { MetadataCounterError, MissingMetadataError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import {
  NULL_SLOT,
  type Slot,
  slotAsId,
  slotBaseGfn,
  slotGfnWriteTrackWord,
  slotNpages,
} from "../slot/slot.js";
import { kvmMmuGfnAllowLpage, kvmMmuGfnDisallowLpage } from "./lpage-info.js";
import { kvmWriteTrackingEnabled } from "./predicates.js";

/** Highest value of a write-tracking counter, 16 bits in the kernel and here. */
export const WRITE_TRACK_MAX = 65535;

// Two counters share a 32-bit word: the page with the even index has the low half.

function writeTrackArray(cpu: Cpu, slot: Slot): Address {
  return cpu.readOnce32(slotGfnWriteTrackWord(slot)) as Address;
}

function writeTrackBytes(cpu: Cpu, slot: Slot): number {
  return Math.ceil(slotNpages(cpu, slot) / 2) * 4;
}

/** Times `gfn` is write-tracked in `slot`, 0 … 65535; 0 without counters. */
export function gfnWriteTrackCount(cpu: Cpu, slot: Slot, gfn: Gfn): number {
  const array = writeTrackArray(cpu, slot);
  if (array === NULL_ADDRESS) return 0;
  const index = gfn - slotBaseGfn(cpu, slot);
  const word = cpu.readOnce32(offset(array, Math.floor(index / 2) * 4));
  return index % 2 === 0 ? word & WRITE_TRACK_MAX : word >>> 16;
}

function updateGfnWriteTrack(cpu: Cpu, slot: Slot, gfn: Gfn, addend: 1 | -1): void {
  const array = writeTrackArray(cpu, slot);
  if (array === NULL_ADDRESS) throw new MissingMetadataError("gfn_write_track", slot, gfn);
  const count = gfnWriteTrackCount(cpu, slot, gfn) + addend;
  if (count < 0 || count > WRITE_TRACK_MAX) {
    throw new MetadataCounterError("gfn_write_track", gfn, count, WRITE_TRACK_MAX);
  }
  const index = gfn - slotBaseGfn(cpu, slot);
  // `count` stays in its half, so nothing carries into the other page's. A lockless reader sees it before or
  // after.
  const unit = index % 2 === 0 ? addend : addend * 65536;
  cpu.fetchAdd32(offset(array, Math.floor(index / 2) * 4), unit, "relaxed");
}

/**
 * Tracks writes to `gfn` once more and forbids huge pages around it (kernel `__kvm_write_track_add_gfn`,
 * without its last step: the caller write-protects the gfn in its MMUs). Held: `mmu_lock` for write, and
 * `slots_lock` or SRCU.
 *
 * @throws MissingMetadataError if the slot has no counters.
 * @throws MetadataCounterError if the counter would overflow.
 */
export function kvmWriteTrackAddGfn(memslots: Memslots, cpu: Cpu, slot: Slot, gfn: Gfn): void {
  assertTrackLocks(memslots, cpu);
  updateGfnWriteTrack(cpu, slot, gfn, 1);
  kvmMmuGfnDisallowLpage(cpu, slot, gfn);
}

/** Undoes one `kvmWriteTrackAddGfn` (kernel `__kvm_write_track_remove_gfn`). Held and thrown: the same. */
export function kvmWriteTrackRemoveGfn(memslots: Memslots, cpu: Cpu, slot: Slot, gfn: Gfn): void {
  assertTrackLocks(memslots, cpu);
  updateGfnWriteTrack(cpu, slot, gfn, -1);
  kvmMmuGfnAllowLpage(cpu, slot, gfn);
}

function assertTrackLocks(memslots: Memslots, cpu: Cpu): void {
  const { mmuLock, slotsLock, srcu } = memslots.locks;
  cpu.lockdep.assertHeld(mmuLock, "write");
  cpu.lockdep.assertAnyHeld(slotsLock, srcu);
}

/**
 * Whether writes to `gfn` must be caught (kernel `kvm_gfn_is_write_tracked`): tracked in `slot`, or in the
 * slot that has the same gfn in the other address space.
 *
 * @param slot the slot of `gfn`, or `NULL_SLOT`
 */
export function kvmGfnIsWriteTracked(memslots: Memslots, cpu: Cpu, slot: Slot, gfn: Gfn): boolean {
  if (slot === NULL_SLOT || !kvmWriteTrackingEnabled(memslots, cpu)) return false;
  if (gfnWriteTrackCount(cpu, slot, gfn) !== 0) return true;
  if (memslots.nrAddressSpaces === 1) return false;
  const other = memslots.gfnToMemslot(cpu, 1 - slotAsId(cpu, slot), gfn);
  return other !== NULL_SLOT && gfnWriteTrackCount(cpu, other, gfn) !== 0;
}

/**
 * Gives `slot` its counters if it has none. Held: `slots_arch_lock`.
 *
 * @throws OutOfMemoryError
 */
export function kvmPageTrackWriteTrackingAlloc(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  if (writeTrackArray(cpu, slot) !== NULL_ADDRESS) return;
  const array = memslots.arrays.allocate(cpu, writeTrackBytes(cpu, slot));
  cpu.writeOnce32(slotGfnWriteTrackWord(slot), array);
}

/** Frees the counters of a slot that nobody can reach. */
export function kvmPageTrackFreeMemslot(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  const array = writeTrackArray(cpu, slot);
  if (array === NULL_ADDRESS) return;
  memslots.arrays.free(cpu, array, writeTrackBytes(cpu, slot));
  cpu.writeOnce32(slotGfnWriteTrackWord(slot), NULL_ADDRESS);
}
