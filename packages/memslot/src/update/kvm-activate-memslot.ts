import type { Cpu } from "@kvm-age/machine";
import type { Memslots } from "../memslots/memslots.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { kvmReplaceMemslot } from "../set/replace-memslot.js";
import {
  copySlotArch,
  readSlotFields,
  type Slot,
  slotAsId,
  slotDirtyBitmap,
  writeSlotDirtyBitmap,
  writeSlotFields,
} from "../slot/slot.js";
import { KVM_MEMSLOT_INVALID } from "../slot/slot-flags.js";
import { kvmSwapActiveMemslots } from "./kvm-swap-active-memslots.js";

/**
 * Publishes the edited set, then makes the same change in the other one (kernel `kvm_activate_memslot`):
 * afterwards both hold the same slots. Held: `slots_lock`, and `slots_arch_lock`, which it releases.
 */
export function kvmActivateMemslot(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  asId: number,
  old: Slot,
  fresh: Slot,
): void {
  kvmSwapActiveMemslots(memslots, cpu, mmu, asId);
  kvmReplaceMemslot(cpu, memslots.inactiveMemslots(cpu, asId), old, fresh);
}

/**
 * Replaces `old` by a copy with the INVALID flag and removes all its mappings (kernel
 * `kvm_invalidate_memslot`). From the swap on, faults on its gfns retry. `old` stays in the inactive set, for
 * a failed change to come back to.
 *
 * Held: `slots_lock`, and `slots_arch_lock`, which is let go meanwhile: rmap arrays may be added to the copy,
 * and `old` gets them back.
 */
export function kvmInvalidateMemslot(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  old: Slot,
  invalid: Slot,
): void {
  const fields = readSlotFields(cpu, old);
  writeSlotFields(cpu, invalid, { ...fields, flags: fields.flags | KVM_MEMSLOT_INVALID });
  copySlotBitmapAndArch(cpu, old, invalid);
  const asId = slotAsId(cpu, old);
  kvmReplaceMemslot(cpu, memslots.inactiveMemslots(cpu, asId), old, invalid);
  kvmSwapActiveMemslots(memslots, cpu, mmu, asId);
  mmu.flushShadowMemslot(cpu, old);
  cpu.mutexLock(memslots.locks.slotsArchLock);
  copySlotArch(cpu, invalid, old);
}

function copySlotBitmapAndArch(cpu: Cpu, from: Slot, to: Slot): void {
  writeSlotDirtyBitmap(cpu, to, slotDirtyBitmap(cpu, from));
  copySlotArch(cpu, from, to);
}
