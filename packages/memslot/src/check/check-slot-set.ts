import { type Cpu, offset } from "@kvm-age/machine";
import { GFN_TREE } from "../set/gfn-tree.js";
import { HVA_TREE, hvaSubtreeEnd } from "../set/hva-tree.js";
import { NODE_ID_NEXT } from "../set/slot-node.js";
import {
  ID_HASH_BUCKETS,
  SET_ID_HASH,
  SET_LAST_USED_SLOT,
  type SlotSet,
  setGfnRoot,
  setHvaRoot,
  setNodeIdx,
} from "../set/slot-set.js";
import { nodeWord, slotPriority, type TreeKind } from "../set/slot-tree.js";
import { NULL_SLOT, type Slot, slotBaseGfn, slotId, slotNpages } from "../slot/slot.js";
import { slotUserspaceEnd } from "../slot/slot-hva.js";

/** The slots of a tree in order; reports nodes that break the heap order. */
function treeSlots(cpu: Cpu, root: Slot, kind: TreeKind, nodeIdx: number, report: string[]): Slot[] {
  if (root === NULL_SLOT) return [];
  const children = [kind.links, kind.links + 4].map(
    (link) => cpu.readOnce32(nodeWord(root, nodeIdx, link)) as Slot,
  );
  const [before, after] = children.map((child) => {
    if (child !== NULL_SLOT && slotPriority(cpu, child) >= slotPriority(cpu, root)) {
      report.push(`${kind.name}: slot ${slotId(cpu, child)} lies below slot ${slotId(cpu, root)}`);
    }
    return treeSlots(cpu, child, kind, nodeIdx, report);
  });
  return [...before!, root, ...after!];
}

/** Reports neighbours that are in the wrong order. */
function checkOrder(cpu: Cpu, slots: readonly Slot[], kind: TreeKind, report: string[]): void {
  for (let index = 1; index < slots.length; index++) {
    const left = slots[index - 1]!;
    const right = slots[index]!;
    if (!kind.before(cpu, left, right)) {
      report.push(`${kind.name}: slot ${slotId(cpu, left)} stands before slot ${slotId(cpu, right)}`);
    }
  }
}

function checkOverlaps(cpu: Cpu, slots: readonly Slot[], report: string[]): void {
  for (let index = 1; index < slots.length; index++) {
    const left = slots[index - 1]!;
    const right = slots[index]!;
    if (slotBaseGfn(cpu, left) + slotNpages(cpu, left) > slotBaseGfn(cpu, right)) {
      report.push(`slots ${slotId(cpu, left)} and ${slotId(cpu, right)} overlap in gfn`);
    }
  }
}

/** Highest end below `root`; reports nodes that say otherwise. */
function checkSubtreeEnds(cpu: Cpu, root: Slot, nodeIdx: number, report: string[]): number {
  if (root === NULL_SLOT) return 0;
  const ends = [HVA_TREE.links, HVA_TREE.links + 4].map((link) =>
    checkSubtreeEnds(cpu, cpu.readOnce32(nodeWord(root, nodeIdx, link)) as Slot, nodeIdx, report),
  );
  const end = Math.max(slotUserspaceEnd(cpu, root), ...ends);
  if (hvaSubtreeEnd(cpu, root, nodeIdx) !== end) {
    report.push(`hva tree: slot ${slotId(cpu, root)} does not know the highest end below it`);
  }
  return end;
}

function idHashSlots(cpu: Cpu, set: SlotSet, nodeIdx: number, report: string[]): Slot[] {
  const slots: Slot[] = [];
  for (let bucket = 0; bucket < ID_HASH_BUCKETS; bucket++) {
    let slot = cpu.readOnce32(offset(set, SET_ID_HASH + bucket * 4)) as Slot;
    for (; slot !== NULL_SLOT; slot = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_ID_NEXT)) as Slot) {
      if (slotId(cpu, slot) % ID_HASH_BUCKETS !== bucket) {
        report.push(`id hash: slot ${slotId(cpu, slot)} stands in bucket ${bucket}`);
      }
      slots.push(slot);
    }
  }
  return slots;
}

function sameMembers(left: readonly Slot[], right: readonly Slot[]): boolean {
  const members = new Set(left);
  return members.size === right.length && left.length === right.length && right.every((s) => members.has(s));
}

/** Checks one set by itself; returns its slots by gfn. `name` begins every line of the report. */
export function checkSlotSet(cpu: Cpu, set: SlotSet, name: string, report: string[]): Slot[] {
  const found: string[] = [];
  const nodeIdx = setNodeIdx(cpu, set);
  const byGfn = treeSlots(cpu, setGfnRoot(cpu, set), GFN_TREE, nodeIdx, found);
  const byHva = treeSlots(cpu, setHvaRoot(cpu, set), HVA_TREE, nodeIdx, found);
  const byId = idHashSlots(cpu, set, nodeIdx, found);
  checkOrder(cpu, byGfn, GFN_TREE, found);
  checkOrder(cpu, byHva, HVA_TREE, found);
  checkOverlaps(cpu, byGfn, found);
  checkSubtreeEnds(cpu, setHvaRoot(cpu, set), nodeIdx, found);
  if (!sameMembers(byGfn, byHva)) found.push("the gfn tree and the hva tree hold different slots");
  if (!sameMembers(byGfn, byId)) found.push("the gfn tree and the id hash hold different slots");
  const cached = cpu.readOnce32(offset(set, SET_LAST_USED_SLOT)) as Slot;
  if (cached !== NULL_SLOT && !byGfn.includes(cached)) found.push("last_used_slot is not in the set");
  report.push(...found.map((line) => `${name}: ${line}`));
  return byGfn;
}
