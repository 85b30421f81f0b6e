import type { Cpu } from "@kvm-age/machine";
import { readSplitWord, writeSplitWord } from "../address/split-word.js";
import { NULL_SLOT, type Slot, slotId, slotUserspaceAddr } from "../slot/slot.js";
import { slotUserspaceEnd } from "../slot/slot-hva.js";
import { NODE_HVA_LEFT, NODE_HVA_RIGHT, NODE_HVA_SUBTREE_END } from "./slot-node.js";
import { nodeWord, type TreeKind } from "./slot-tree.js";

/**
 * The interval tree by hva: ordered by start, then by id, because any number of slots may begin at one hva;
 * each node knows the highest end below it.
 */
export const HVA_TREE: TreeKind = {
  name: "hva tree",
  links: NODE_HVA_LEFT,
  before(cpu: Cpu, left: Slot, right: Slot): boolean {
    const leftStart = slotUserspaceAddr(cpu, left);
    const rightStart = slotUserspaceAddr(cpu, right);
    if (leftStart !== rightStart) return leftStart < rightStart;
    return slotId(cpu, left) < slotId(cpu, right);
  },
  update(cpu: Cpu, slot: Slot, nodeIdx: number): void {
    const left = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_HVA_LEFT)) as Slot;
    const right = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_HVA_RIGHT)) as Slot;
    const end = Math.max(
      slotUserspaceEnd(cpu, slot),
      hvaSubtreeEnd(cpu, left, nodeIdx),
      hvaSubtreeEnd(cpu, right, nodeIdx),
    );
    writeSplitWord(cpu, nodeWord(slot, nodeIdx, NODE_HVA_SUBTREE_END), end);
  },
};

/** Highest end (first hva behind) in the subtree of `slot`; 0 for an empty one. */
export function hvaSubtreeEnd(cpu: Cpu, slot: Slot, nodeIdx: number): number {
  return slot === NULL_SLOT ? 0 : readSplitWord(cpu, nodeWord(slot, nodeIdx, NODE_HVA_SUBTREE_END));
}
