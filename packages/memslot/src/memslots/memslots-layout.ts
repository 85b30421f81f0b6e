import { srcuBytes } from "@kvm-age/machine";
import { SLOT_SET_BYTES } from "../set/slot-set.js";
import { KVM_MAX_NR_ADDRESS_SPACES } from "../slot/slot-limits.js";

// The slot part of `struct kvm`, as offsets from its address. What different processors write often lies in
// different cache lines of 64 bytes.

/** Mutex. */
export const MEMSLOTS_SLOTS_LOCK = 0;
/** Mutex. */
export const MEMSLOTS_SLOTS_ARCH_LOCK = 8;
/** u64: sum of the pages of all slots of all address spaces. Under `slots_lock`. */
export const MEMSLOTS_NR_PAGES = 16;
/** u32: slots with `KVM_MEM_LOG_DIRTY_PAGES`. Written under `slots_lock`. */
export const MEMSLOTS_NR_DIRTY_LOGGING = 24;
/** u32: 1 once a shadow root exists or is about to; never 0 again. Released under `slots_arch_lock`. */
export const MEMSLOTS_SHADOW_ROOT_ALLOCATED = 28;
/** Two u32: address of the active set of each address space. */
export const MEMSLOTS_ACTIVE_SETS = 32;
/** Rwlock. */
export const MEMSLOTS_MMU_LOCK = 64;
/** Spinlock. */
export const MEMSLOTS_MN_INVALIDATE_LOCK = 128;
/** u32: notifier invalidations between start and end. Under `mn_invalidate_lock`. */
export const MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT = 136;
/** u64: invalidations that ended. Written under `mmu_lock` write. */
export const MEMSLOTS_MMU_INVALIDATE_SEQ = 192;
/** u64: first gfn of the hull, `INVALID_GFN_WORD` if none was added. Written under `mmu_lock` write. */
export const MEMSLOTS_MMU_INVALIDATE_RANGE_START = 200;
/** u64: first gfn behind the hull. Written under `mmu_lock` write. */
export const MEMSLOTS_MMU_INVALIDATE_RANGE_END = 208;
/** u32: invalidations in progress. Written under `mmu_lock` write. */
export const MEMSLOTS_MMU_INVALIDATE_IN_PROGRESS = 216;
/** u32 for each kind of warning. */
export const MEMSLOTS_WARNINGS = 256;
/** Slot sets: two for each address space. */
export const MEMSLOTS_SETS = 320;
/** The SRCU domain, whose size depends on the machine. */
export const MEMSLOTS_SRCU: number = MEMSLOTS_SETS + 2 * KVM_MAX_NR_ADDRESS_SPACES * SLOT_SET_BYTES;

/** Bytes of the whole on a machine of `maxCpus` processors. */
export function memslotsBytes(maxCpus: number): number {
  return MEMSLOTS_SRCU + srcuBytes(maxCpus);
}
