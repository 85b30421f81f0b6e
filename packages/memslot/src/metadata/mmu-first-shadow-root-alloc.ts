import { type Cpu, OutOfMemoryError, offset } from "@kvm-age/machine";
import { MemslotError } from "../errors.js";
import { kvmForEachMemslot } from "../lookup/kvm-for-each-memslot.js";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_SHADOW_ROOT_ALLOCATED } from "../memslots/memslots-layout.js";
import { kvmMemslotsHaveRmaps, kvmShadowRootAllocated, kvmWriteTrackingEnabled } from "./predicates.js";
import { memslotRmapAlloc } from "./rmap-arrays.js";
import { kvmPageTrackWriteTrackingAlloc } from "./write-track.js";

function allocateForAllSlots(memslots: Memslots, cpu: Cpu): void {
  for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
    kvmForEachMemslot(cpu, memslots.kvmMemslots(cpu, asId), (slot) => {
      memslotRmapAlloc(memslots, cpu, slot);
      kvmPageTrackWriteTrackingAlloc(memslots, cpu, slot);
    });
  }
}

/**
 * Gives every slot its rmap heads and write-tracking counters before the first shadow root (kernel
 * `mmu_first_shadow_root_alloc`). The release publishes the arrays with the flag; slots made from then on
 * have them from the start, because they ask under `slots_arch_lock`. Held: SRCU, no spinning lock.
 *
 * @throws MemslotError ENOMEM; the arrays made so far stay, and another call goes on from there.
 */
export function mmuFirstShadowRootAlloc(memslots: Memslots, cpu: Cpu): void {
  if (kvmShadowRootAllocated(memslots, cpu)) return;
  const { slotsArchLock } = memslots.locks;
  cpu.mutexLock(slotsArchLock);
  try {
    if (kvmShadowRootAllocated(memslots, cpu)) return;
    if (!kvmMemslotsHaveRmaps(memslots, cpu) || !kvmWriteTrackingEnabled(memslots, cpu)) {
      allocateForAllSlots(memslots, cpu);
    }
    cpu.storeRelease32(offset(memslots.address, MEMSLOTS_SHADOW_ROOT_ALLOCATED), 1);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw new MemslotError("ENOMEM", `slot metadata for the first shadow root: ${error.message}`, {
      cause: error,
    });
  } finally {
    cpu.mutexUnlock(slotsArchLock);
  }
}
