import { type Cpu, offset } from "@kvm-age/machine";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_SHADOW_ROOT_ALLOCATED } from "../memslots/memslots-layout.js";

/**
 * Whether a shadow root was ever allocated (kernel `kvm_shadow_root_allocated`). The acquire pairs with the
 * release in `mmuFirstShadowRootAlloc`: true means that every slot's arrays are there.
 */
export function kvmShadowRootAllocated(memslots: Memslots, cpu: Cpu): boolean {
  return cpu.loadAcquire32(offset(memslots.address, MEMSLOTS_SHADOW_ROOT_ALLOCATED)) !== 0;
}

/** Whether slots have rmap arrays (kernel `kvm_memslots_have_rmaps`). Once true, always true. */
export function kvmMemslotsHaveRmaps(memslots: Memslots, cpu: Cpu): boolean {
  return !memslots.options.tdpMmuEnabled || kvmShadowRootAllocated(memslots, cpu);
}

/** Whether slots have write-tracking counters (kernel `kvm_page_track_write_tracking_enabled`). */
export function kvmWriteTrackingEnabled(memslots: Memslots, cpu: Cpu): boolean {
  return !memslots.options.tdpEnabled || kvmShadowRootAllocated(memslots, cpu);
}
