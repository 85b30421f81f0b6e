import type { ModelSlot } from "../model/model-config.js";

const PAGE_BYTES = 4096;

/** The memory slots of a recorded VM, as the trace tells them. */
export class RecordedSlots {
  constructor(private readonly slots: readonly ModelSlot[]) {}

  all(): readonly ModelSlot[] {
    return this.slots;
  }

  slot(id: number): ModelSlot | null {
    return this.slots.find(({ slot }) => slot === id) ?? null;
  }

  /** The slot of a guest page, null outside every slot. */
  slotOf(gfn: number): ModelSlot | null {
    return this.slots.find((one) => gfn >= one.gfn && gfn < one.gfn + one.pages) ?? null;
  }

  /** Where the owner has a guest page, null outside every slot. */
  hvaOf(gfn: number): number | null {
    const slot = this.slotOf(gfn);
    return slot === null ? null : slot.hva + (gfn - slot.gfn) * PAGE_BYTES;
  }
}
