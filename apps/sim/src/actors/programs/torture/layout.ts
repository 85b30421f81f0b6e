import type { VmHandle } from "../../../vm/vm.js";

// The torture VM has two slots side by side: one that is deleted, moved and made again, one that is dirty-logged.

/** Id of the slot that moves. */
export const MOVING_SLOT = 2;
/** Id of the slot that is dirty-logged. */
export const LOGGED_SLOT = 3;

/** A slot of the torture VM: a run of test pages. */
export interface TortureSlot {
  readonly id: number;
  readonly firstPage: number;
  readonly pages: number;
}

/** The two slots of a VM. */
export function tortureSlots(vm: VmHandle): { moving: TortureSlot; logged: TortureSlot } {
  const half = Math.floor(vm.config.guestPages / 2);
  return {
    moving: { id: MOVING_SLOT, firstPage: 0, pages: half },
    logged: { id: LOGGED_SLOT, firstPage: half, pages: vm.config.guestPages - half },
  };
}
