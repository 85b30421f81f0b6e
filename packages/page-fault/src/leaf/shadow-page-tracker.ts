import type { Cpu } from "@kvm-age/machine";
import { kvmGfnIsWriteTracked, type Memslots, type Slot } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";

const EPERM = 1;

/** Whom an MMU asks before it grants write access: whoever shadows guest page tables. */
export interface ShadowPageTracker {
  /**
   * `mmu_try_to_unsync_pages`: 0 if `gfn` may be mapped writable, a negative errno if it holds a shadowed guest page table
   * or is write-tracked. Called with `mmu_lock` held for read at least.
   */
  tryToUnsyncPages(
    cpu: Cpu,
    memslots: Memslots,
    slot: Slot,
    gfn: Gfn,
    synchronizing: boolean,
    prefetch: boolean,
  ): number;
}

/** The form for a VM without shadow pages: only write tracking can refuse. */
export const noShadowPages: ShadowPageTracker = {
  tryToUnsyncPages(cpu, memslots, slot, gfn): number {
    return kvmGfnIsWriteTracked(memslots, cpu, slot, gfn) ? -EPERM : 0;
  },
};
