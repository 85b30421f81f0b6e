import { type Cpu, offset } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { NODE_GFN_LEFT, NODE_GFN_RIGHT } from "../set/slot-node.js";
import { SET_LAST_USED_SLOT, type SlotSet, setGfnRoot, setNodeIdx } from "../set/slot-set.js";
import { nodeWord } from "../set/slot-tree.js";
import { NULL_SLOT, type Slot, slotBaseGfn, slotContains, slotNpages } from "../slot/slot.js";

/**
 * The set's slot that contains `gfn`, or `NULL_SLOT` (kernel `search_memslots`): one descent of the gfn tree.
 */
export function searchMemslots(cpu: Cpu, set: SlotSet, gfn: Gfn): Slot {
  const nodeIdx = setNodeIdx(cpu, set);
  let slot = setGfnRoot(cpu, set);
  while (slot !== NULL_SLOT) {
    const baseGfn = slotBaseGfn(cpu, slot);
    if (gfn >= baseGfn && gfn < baseGfn + slotNpages(cpu, slot)) return slot;
    const link = gfn < baseGfn ? NODE_GFN_LEFT : NODE_GFN_RIGHT;
    slot = cpu.readOnce32(nodeWord(slot, nodeIdx, link)) as Slot;
  }
  return NULL_SLOT;
}

/**
 * The same through the set's cache of one slot (kernel `__gfn_to_memslot`). Any reader may store into the
 * cache at any time; all they store is slots of this set, and the cache is cleaned of a slot before that is
 * freed, when no reader is left in the set.
 */
export function gfnToMemslotInSet(cpu: Cpu, set: SlotSet, gfn: Gfn): Slot {
  const cache = offset(set, SET_LAST_USED_SLOT);
  const cached = cpu.readOnce32(cache) as Slot;
  if (cached !== NULL_SLOT && slotContains(cpu, cached, gfn)) return cached;
  const slot = searchMemslots(cpu, set, gfn);
  if (slot !== NULL_SLOT) cpu.writeOnce32(cache, slot);
  return slot;
}
