import { type Cpu, OutOfMemoryError } from "@kvm-age/machine";
import type { Memslots } from "../memslots/memslots.js";
import type { Slot } from "../slot/slot.js";
import { lpageInfoAlloc, lpageInfoFree } from "./lpage-info.js";
import { kvmMemslotsHaveRmaps, kvmWriteTrackingEnabled } from "./predicates.js";
import { memslotRmapAlloc, memslotRmapFree } from "./rmap-arrays.js";
import { kvmPageTrackFreeMemslot, kvmPageTrackWriteTrackingAlloc } from "./write-track.js";

/**
 * Allocates the arrays that a new slot needs now (kernel `kvm_alloc_memslot_metadata`). Held:
 * `slots_arch_lock`, so that the predicates cannot become true between the question and the publication of
 * the slot.
 *
 * @throws OutOfMemoryError; nothing stays allocated.
 */
export function kvmAllocMemslotMetadata(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  cpu.lockdep.assertHeld(memslots.locks.slotsArchLock, "write");
  try {
    if (kvmMemslotsHaveRmaps(memslots, cpu)) memslotRmapAlloc(memslots, cpu, slot);
    lpageInfoAlloc(memslots, cpu, slot);
    if (kvmWriteTrackingEnabled(memslots, cpu)) kvmPageTrackWriteTrackingAlloc(memslots, cpu, slot);
  } catch (error) {
    if (error instanceof OutOfMemoryError) kvmArchFreeMemslot(memslots, cpu, slot);
    throw error;
  }
}

/** Frees all arrays of a slot that nobody can reach (kernel `kvm_arch_free_memslot`). */
export function kvmArchFreeMemslot(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  memslotRmapFree(memslots, cpu, slot);
  lpageInfoFree(memslots, cpu, slot);
  kvmPageTrackFreeMemslot(memslots, cpu, slot);
}
