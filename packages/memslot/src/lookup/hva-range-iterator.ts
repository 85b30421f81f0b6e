import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "../address/hva.js";
import { HVA_TREE, hvaSubtreeEnd } from "../set/hva-tree.js";
import { NODE_HVA_LEFT, NODE_HVA_RIGHT } from "../set/slot-node.js";
import { type SlotSet, setHvaRoot, setNodeIdx } from "../set/slot-set.js";
import { nodeWord } from "../set/slot-tree.js";
import { NULL_SLOT, type Slot, slotUserspaceAddr } from "../slot/slot.js";
import { slotUserspaceEnd } from "../slot/slot-hva.js";

/**
 * First slot below `root`, in the order of the tree, that comes after `after` (all do if it is `NULL_SLOT`)
 * and intersects [`start`, `last`]. Prunes by the highest end below a node and by its start; the pruned
 * search and the search for `after` each follow one path, so a step costs the depth of the tree.
 */
function firstIntersecting(cpu: Cpu, root: Slot, nodeIdx: number, after: Slot, start: Hva, last: Hva): Slot {
  let slot = root;
  while (slot !== NULL_SLOT && hvaSubtreeEnd(cpu, slot, nodeIdx) > start) {
    if (after === NULL_SLOT || (slot !== after && HVA_TREE.before(cpu, after, slot))) {
      const left = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_HVA_LEFT)) as Slot;
      const found = firstIntersecting(cpu, left, nodeIdx, after, start, last);
      if (found !== NULL_SLOT) return found;
      if (slotUserspaceAddr(cpu, slot) > last) return NULL_SLOT;
      if (slotUserspaceEnd(cpu, slot) > start) return slot;
    }
    slot = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_HVA_RIGHT)) as Slot;
  }
  return NULL_SLOT;
}

/**
 * First slot of the set, in order of hva, that intersects [`start`, `last`] (both inclusive), or `NULL_SLOT`
 * (kernel `interval_tree_iter_first`). With `hvaRangeIterNext` the loop of
 * `kvm_for_each_memslot_in_hva_range`.
 */
export function hvaRangeIterFirst(cpu: Cpu, set: SlotSet, start: Hva, last: Hva): Slot {
  return firstIntersecting(cpu, setHvaRoot(cpu, set), setNodeIdx(cpu, set), NULL_SLOT, start, last);
}

/** The slot after `slot` that intersects [`start`, `last`], or `NULL_SLOT`. */
export function hvaRangeIterNext(cpu: Cpu, set: SlotSet, slot: Slot, start: Hva, last: Hva): Slot {
  return firstIntersecting(cpu, setHvaRoot(cpu, set), setNodeIdx(cpu, set), slot, start, last);
}
