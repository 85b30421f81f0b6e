import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { Memslots } from "../memslots/memslots.js";
import { type Slot, slotDirtyBitmap, slotNpages, writeSlotDirtyBitmap } from "../slot/slot.js";

/** Pages that one word of a bitmap covers. */
export const PAGES_PER_WORD = 64;

const ALL_ONES = 2n ** 64n - 1n;

/** 64-bit words of one half of the slot's bitmap (kernel `kvm_dirty_bitmap_bytes` / 8). */
export function dirtyBitmapWords(cpu: Cpu, slot: Slot): number {
  return Math.ceil(slotNpages(cpu, slot) / PAGES_PER_WORD);
}

/** Word `index` of the live half. */
export function liveWord(bitmap: Address, index: number): Address {
  return offset(bitmap, index * 8);
}

/**
 * Word `index` of the scratch half, which belongs to the holder of `slots_lock` (kernel
 * `kvm_second_dirty_bitmap`).
 */
export function scratchWord(cpu: Cpu, slot: Slot, bitmap: Address, index: number): Address {
  return offset(bitmap, (dirtyBitmapWords(cpu, slot) + index) * 8);
}

/** Bytes of both halves. */
function dirtyBitmapBytes(cpu: Cpu, slot: Slot): number {
  return 2 * dirtyBitmapWords(cpu, slot) * 8;
}

/**
 * Gives a new slot an empty bitmap, or one with every page set (kernel `kvm_alloc_dirty_bitmap`).
 *
 * @throws OutOfMemoryError
 */
export function kvmAllocDirtyBitmap(memslots: Memslots, cpu: Cpu, slot: Slot, initiallySet: boolean): void {
  const bitmap = memslots.arrays.allocate(cpu, dirtyBitmapBytes(cpu, slot));
  if (initiallySet) {
    const npages = slotNpages(cpu, slot);
    const fullWords = Math.floor(npages / PAGES_PER_WORD);
    cpu.memset64(bitmap, ALL_ONES, fullWords);
    const rest = npages % PAGES_PER_WORD;
    if (rest !== 0) cpu.writeOnce(liveWord(bitmap, fullWords), (1n << BigInt(rest)) - 1n);
  }
  writeSlotDirtyBitmap(cpu, slot, bitmap);
}

/** Frees the bitmap of a slot that nobody can reach, if it has one (kernel `kvm_destroy_dirty_bitmap`). */
export function kvmDestroyDirtyBitmap(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  const bitmap = slotDirtyBitmap(cpu, slot);
  if (bitmap === NULL_ADDRESS) return;
  memslots.arrays.free(cpu, bitmap, dirtyBitmapBytes(cpu, slot));
  writeSlotDirtyBitmap(cpu, slot, NULL_ADDRESS);
}
