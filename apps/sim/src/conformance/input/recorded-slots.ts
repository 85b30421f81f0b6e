import type { ModelSlot } from "../model/model-vm.js";

const PAGE_BYTES = 4096;

/** The memory slots of a recorded VM, as the trace tells them. */
export class RecordedSlots {
  private readonly slots: ModelSlot[] = [];

  add(slot: ModelSlot): void {
    this.slots.push(slot);
  }

  all(): readonly ModelSlot[] {
    return this.slots;
  }

  slot(id: number): ModelSlot | null {
    return this.slots.find(({ slot }) => slot === id) ?? null;
  }

  /** Where the owner has a guest page, null outside every slot. */
  hvaOf(gfn: number): number | null {
    const slot = this.slots.find((one) => gfn >= one.gfn && gfn < one.gfn + one.pages);
    return slot === undefined ? null : slot.hva + (gfn - slot.gfn) * PAGE_BYTES;
  }
}
