import type { Gfn } from "@kvm-age/spte";
import type { Slot } from "../slot/slot.js";

/** Attribute filter: shared memory, which is all that notifiers speak of (kernel `KVM_FILTER_SHARED`). */
export const KVM_FILTER_SHARED = 1;
/** Attribute filter: private memory (kernel `KVM_FILTER_PRIVATE`). */
export const KVM_FILTER_PRIVATE = 2;

/** Guest frames of one slot that an event concerns (kernel `struct kvm_gfn_range`). */
export interface KvmGfnRange {
  readonly slot: Slot;
  /** First gfn; inside the slot. */
  readonly start: Gfn;
  /** First gfn behind the range; greater than `start`, at most the slot's end. */
  readonly end: Gfn;
  /** Whether the handler may drop `mmu_lock` and reschedule. */
  readonly mayBlock: boolean;
  /** Whether the walk runs without `mmu_lock`. */
  readonly lockless: boolean;
  /** Union of `KVM_FILTER_SHARED` and `KVM_FILTER_PRIVATE`. */
  readonly attrFilter: number;
}
