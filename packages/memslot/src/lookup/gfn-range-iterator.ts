import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { NODE_GFN_LEFT, NODE_GFN_RIGHT } from "../set/slot-node.js";
import { type SlotSet, setGfnRoot, setNodeIdx } from "../set/slot-set.js";
import { nodeWord } from "../set/slot-tree.js";
import { NULL_SLOT, type Slot, slotBaseGfn, slotNpages } from "../slot/slot.js";

/**
 * The slot with the lowest first gfn whose end lies behind `gfn`. Slots do not overlap, so ends are in the
 * same order.
 */
function firstSlotEndingAfter(cpu: Cpu, set: SlotSet, gfn: Gfn): Slot {
  const nodeIdx = setNodeIdx(cpu, set);
  let found = NULL_SLOT;
  let slot = setGfnRoot(cpu, set);
  while (slot !== NULL_SLOT) {
    const endsAfter = slotBaseGfn(cpu, slot) + slotNpages(cpu, slot) > gfn;
    if (endsAfter) found = slot;
    slot = cpu.readOnce32(nodeWord(slot, nodeIdx, endsAfter ? NODE_GFN_LEFT : NODE_GFN_RIGHT)) as Slot;
  }
  return found;
}

/**
 * First slot of the set that overlaps [`start`, `end`), by gfn, or `NULL_SLOT` (kernel
 * `kvm_memslot_iter_start`). With `kvmMemslotIterNext` the loop of `kvm_for_each_memslot_in_gfn_range`:
 *
 * `for (let slot = kvmMemslotIterStart(…); slot !== NULL_SLOT; slot = kvmMemslotIterNext(…))`
 */
export function kvmMemslotIterStart(cpu: Cpu, set: SlotSet, start: Gfn, end: Gfn): Slot {
  const slot = firstSlotEndingAfter(cpu, set, start);
  return slot !== NULL_SLOT && slotBaseGfn(cpu, slot) < end ? slot : NULL_SLOT;
}

/** The slot after `slot` that begins before `end`, or `NULL_SLOT` (kernel `kvm_memslot_iter_next`). */
export function kvmMemslotIterNext(cpu: Cpu, set: SlotSet, slot: Slot, end: Gfn): Slot {
  const slotEnd = (slotBaseGfn(cpu, slot) + slotNpages(cpu, slot)) as Gfn;
  return kvmMemslotIterStart(cpu, set, slotEnd, end);
}
