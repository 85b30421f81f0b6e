import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { NULL_SLOT, SLOT_NODE_BYTES, SLOT_NODES, type Slot, slotId } from "../slot/slot.js";

/**
 * What makes a treap of slots a particular index: where a node keeps its links, how nodes are ordered and
 * what is summarised upwards.
 */
export interface TreeKind {
  /** Name for messages. */
  readonly name: string;
  /** Offset in the slot's node of the left link; the right link follows. */
  readonly links: number;
  /** Whether `left` comes before `right`. Total on the slots of one address space. */
  before(cpu: Cpu, left: Slot, right: Slot): boolean;
  /** Recomputes what the node says about its subtree, from its children. */
  update(cpu: Cpu, slot: Slot, nodeIdx: number): void;
}

/** Address of a word of a slot's node in the set with `nodeIdx`. */
export function nodeWord(slot: Slot, nodeIdx: number, word: number): Address {
  return offset(slot, SLOT_NODES + nodeIdx * SLOT_NODE_BYTES + word);
}

/**
 * Priority of a slot in the heap order: its id, scrambled by a bijection on 32 bits (the finalizer of
 * MurmurHash3), so that no two slots are equal and the tree's shape depends on nothing but its contents.
 * Expected depth is logarithmic.
 */
export function slotPriority(cpu: Cpu, slot: Slot): number {
  let hash = slotId(cpu, slot) + 1;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Edits one treap of a set that no reader can reach. Plain accesses: the swap publishes the result. Links are
 * read through `cpu` like everything else, so an edit is as deterministic as any operation.
 */
export class TreeEdit {
  constructor(
    private readonly cpu: Cpu,
    private readonly kind: TreeKind,
    private readonly nodeIdx: number,
  ) {}

  /** Adds `slot`, which is in no tree of this kind and set; returns the new root. */
  insert(root: Slot, slot: Slot): Slot {
    const { cpu } = this;
    if (root === NULL_SLOT) return this.link(slot, NULL_SLOT, NULL_SLOT);
    if (slotPriority(cpu, slot) > slotPriority(cpu, root)) {
      const [before, after] = this.split(root, slot);
      return this.link(slot, before, after);
    }
    const left = this.left(root);
    const right = this.right(root);
    return this.kind.before(cpu, slot, root)
      ? this.link(root, this.insert(left, slot), right)
      : this.link(root, left, this.insert(right, slot));
  }

  /** Takes `slot` out; returns the new root, or null if it was not there. */
  erase(root: Slot, slot: Slot): Slot | null {
    if (root === NULL_SLOT) return null;
    const left = this.left(root);
    const right = this.right(root);
    if (root === slot) return this.merge(left, right);
    const goesLeft = this.kind.before(this.cpu, slot, root);
    const child = this.erase(goesLeft ? left : right, slot);
    if (child === null) return null;
    return goesLeft ? this.link(root, child, right) : this.link(root, left, child);
  }

  /** Divides a tree into what comes before `slot` and the rest. */
  private split(root: Slot, slot: Slot): readonly [Slot, Slot] {
    if (root === NULL_SLOT) return [NULL_SLOT, NULL_SLOT];
    if (this.kind.before(this.cpu, slot, root)) {
      const [before, after] = this.split(this.left(root), slot);
      return [before, this.link(root, after, this.right(root))];
    }
    const [before, after] = this.split(this.right(root), slot);
    return [this.link(root, this.left(root), before), after];
  }

  /** Joins two trees of which the first comes before the second. */
  private merge(first: Slot, second: Slot): Slot {
    if (first === NULL_SLOT) return second;
    if (second === NULL_SLOT) return first;
    return slotPriority(this.cpu, first) > slotPriority(this.cpu, second)
      ? this.link(first, this.left(first), this.merge(this.right(first), second))
      : this.link(second, this.merge(first, this.left(second)), this.right(second));
  }

  private link(slot: Slot, left: Slot, right: Slot): Slot {
    this.cpu.writeOnce32(nodeWord(slot, this.nodeIdx, this.kind.links), left);
    this.cpu.writeOnce32(nodeWord(slot, this.nodeIdx, this.kind.links + 4), right);
    this.kind.update(this.cpu, slot, this.nodeIdx);
    return slot;
  }

  private left(slot: Slot): Slot {
    return this.cpu.readOnce32(nodeWord(slot, this.nodeIdx, this.kind.links)) as Slot;
  }

  private right(slot: Slot): Slot {
    return this.cpu.readOnce32(nodeWord(slot, this.nodeIdx, this.kind.links + 4)) as Slot;
  }
}
