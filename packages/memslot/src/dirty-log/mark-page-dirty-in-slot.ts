import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import {
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type Slot,
  slotBaseGfn,
  slotDirtyBitmap,
} from "../slot/slot.js";
import { liveWord, PAGES_PER_WORD } from "./dirty-bitmap.js";

/**
 * Logs a write to `gfn` if the slot is logged (kernel `mark_page_dirty_in_slot`); without a slot, nothing.
 * Called when, or before, an SPTE becomes writable and when KVM writes guest memory itself. One atomic OR: a
 * harvest that takes the word at the same time either gets the bit or leaves it for the next one; it
 * write-protects after it took the bits, so the page is logged again either way. Held: SRCU or `slots_lock`.
 *
 * @param gfn in the slot
 */
export function markPageDirtyInSlot(cpu: Cpu, slot: Slot, gfn: Gfn): void {
  if (slot === NULL_SLOT || !kvmSlotDirtyTrackEnabled(cpu, slot)) return;
  const bitmap = slotDirtyBitmap(cpu, slot);
  const index = gfn - slotBaseGfn(cpu, slot);
  const word = liveWord(bitmap, Math.floor(index / PAGES_PER_WORD));
  cpu.fetchOr(word, 1n << BigInt(index % PAGES_PER_WORD), "full");
}
