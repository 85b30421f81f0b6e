import type { Cpu } from "@kvm-age/machine";
import { type Slot, slotBaseGfn } from "../slot/slot.js";
import { NODE_GFN_LEFT } from "./slot-node.js";
import type { TreeKind } from "./slot-tree.js";

/** The tree by first gfn. Slots of an address space do not overlap, so first gfns differ. */
export const GFN_TREE: TreeKind = {
  name: "gfn tree",
  links: NODE_GFN_LEFT,
  before: (cpu: Cpu, left: Slot, right: Slot): boolean => slotBaseGfn(cpu, left) < slotBaseGfn(cpu, right),
  update(): void {},
};
