import { type Cpu, NULL_ADDRESS, OutOfMemoryError } from "@kvm-age/machine";
import { kvmAllocDirtyBitmap, kvmDestroyDirtyBitmap } from "../dirty-log/dirty-bitmap.js";
import { MemslotError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import { kvmAllocMemslotMetadata } from "../metadata/slot-metadata.js";
import {
  copySlotArch,
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type Slot,
  slotBaseGfn,
  slotDirtyBitmap,
  slotNpages,
  writeSlotDirtyBitmap,
} from "../slot/slot.js";
import type { KvmMrChange } from "./memory-region.js";

/** Keeps, allocates or leaves out the bitmap. Returns whether a new one was allocated. */
function prepareDirtyBitmap(memslots: Memslots, cpu: Cpu, old: Slot, fresh: Slot): boolean {
  if (!kvmSlotDirtyTrackEnabled(cpu, fresh)) return false;
  const kept = old === NULL_SLOT ? NULL_ADDRESS : slotDirtyBitmap(cpu, old);
  if (kept !== NULL_ADDRESS) {
    writeSlotDirtyBitmap(cpu, fresh, kept);
    return false;
  }
  kvmAllocDirtyBitmap(memslots, cpu, fresh, memslots.options.dirtyLogInitiallySet);
  return true;
}

/** `kvm_arch_prepare_memory_region` of x86. */
function archPrepare(memslots: Memslots, cpu: Cpu, old: Slot, fresh: Slot, kind: KvmMrChange): void {
  if (kind === "flags-only") {
    copySlotArch(cpu, old, fresh);
    return;
  }
  const { maxGfn } = memslots.options;
  const lastGfn = slotBaseGfn(cpu, fresh) + slotNpages(cpu, fresh) - 1;
  if (lastGfn > maxGfn) {
    throw new MemslotError(
      "EINVAL",
      `last gfn is 0x${lastGfn.toString(16)}, allowed: at most 0x${maxGfn.toString(16)}`,
    );
  }
  kvmAllocMemslotMetadata(memslots, cpu, fresh);
}

/**
 * Gives the new slot what it owns: bitmap and metadata (kernel `kvm_prepare_memory_region`); a delete needs
 * nothing. Held: `slots_lock`, `slots_arch_lock`.
 *
 * @throws MemslotError EINVAL or ENOMEM; nothing that was allocated here stays.
 */
export function kvmPrepareMemoryRegion(
  memslots: Memslots,
  cpu: Cpu,
  old: Slot,
  fresh: Slot,
  kind: KvmMrChange,
): void {
  if (kind === "delete") return;
  let allocated = false;
  try {
    allocated = prepareDirtyBitmap(memslots, cpu, old, fresh);
    archPrepare(memslots, cpu, old, fresh, kind);
  } catch (error) {
    const outOfMemory = error instanceof OutOfMemoryError;
    if (!outOfMemory && !(error instanceof MemslotError)) throw error;
    if (allocated) kvmDestroyDirtyBitmap(memslots, cpu, fresh);
    if (!outOfMemory) throw error;
    throw new MemslotError("ENOMEM", `slot metadata: ${error.message}`, { cause: error });
  }
}
