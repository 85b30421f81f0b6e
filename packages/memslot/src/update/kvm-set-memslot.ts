import { type Cpu, OutOfMemoryError } from "@kvm-age/machine";
import { MemslotError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import type { SecondaryMmu } from "../notifier/secondary-mmu.js";
import { kvmReplaceMemslot } from "../set/replace-memslot.js";
import { NULL_SLOT, type Slot } from "../slot/slot.js";
import { kvmActivateMemslot, kvmInvalidateMemslot } from "./kvm-activate-memslot.js";
import { kvmCommitMemoryRegion } from "./kvm-commit-memory-region.js";
import { kvmPrepareMemoryRegion } from "./kvm-prepare-memory-region.js";
import type { MemslotChange } from "./plan-memslot-change.js";

/** @throws MemslotError ENOMEM */
export function allocateSlot(memslots: Memslots, cpu: Cpu): Slot {
  try {
    return memslots.slotSlab.allocate(cpu) as Slot;
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw new MemslotError("ENOMEM", `slot structure: ${error.message}`, { cause: error });
  }
}

/** A delete or move begins with an INVALID copy in the active set; other changes have none. */
function invalidateIfNeeded(memslots: Memslots, cpu: Cpu, mmu: SecondaryMmu, change: MemslotChange): Slot {
  if (change.kind !== "delete" && change.kind !== "move") return NULL_SLOT;
  let invalid: Slot;
  try {
    invalid = allocateSlot(memslots, cpu);
  } catch (error) {
    if (error instanceof MemslotError) cpu.mutexUnlock(memslots.locks.slotsArchLock);
    throw error;
  }
  kvmInvalidateMemslot(memslots, cpu, mmu, change.old, invalid);
  return invalid;
}

/**
 * Undoes `invalidateIfNeeded`: the old slot, which the inactive set still has, comes back. Releases
 * `slots_arch_lock`.
 */
function restoreOld(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  change: MemslotChange,
  invalid: Slot,
): void {
  if (invalid === NULL_SLOT) {
    cpu.mutexUnlock(memslots.locks.slotsArchLock);
    return;
  }
  kvmActivateMemslot(memslots, cpu, mmu, change.fields.asId, invalid, change.old);
  memslots.slotSlab.free(cpu, invalid);
}

/**
 * Carries a checked change out (kernel `kvm_set_memslot`). Each kind replaces in the inactive set, swaps, and
 * replaces in the other; a delete or move has done so once before, with the INVALID copy. Held: `slots_lock`.
 *
 * @param fresh the new slot, `NULL_SLOT` for a delete
 * @throws MemslotError EINVAL or ENOMEM; the old state is back, `fresh` is the caller's to free.
 */
export function kvmSetMemslot(
  memslots: Memslots,
  cpu: Cpu,
  mmu: SecondaryMmu,
  change: MemslotChange,
  fresh: Slot,
): void {
  const { kind, old } = change;
  const { asId } = change.fields;
  cpu.mutexLock(memslots.locks.slotsArchLock);
  const invalid = invalidateIfNeeded(memslots, cpu, mmu, change);
  try {
    kvmPrepareMemoryRegion(memslots, cpu, old, fresh, kind);
  } catch (error) {
    if (error instanceof MemslotError) restoreOld(memslots, cpu, mmu, change, invalid);
    throw error;
  }
  kvmReplaceMemslot(cpu, memslots.inactiveMemslots(cpu, asId), old, fresh);
  kvmActivateMemslot(memslots, cpu, mmu, asId, invalid === NULL_SLOT ? old : invalid, fresh);
  if (invalid !== NULL_SLOT) memslots.slotSlab.free(cpu, invalid);
  kvmCommitMemoryRegion(memslots, cpu, mmu, old, fresh, kind);
}
