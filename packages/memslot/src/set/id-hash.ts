import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { SlotNotInSetError } from "../errors.js";
import { NULL_SLOT, type Slot, slotId } from "../slot/slot.js";
import { NODE_ID_NEXT } from "./slot-node.js";
import { ID_HASH_BUCKETS, SET_ID_HASH, type SlotSet, setNodeIdx } from "./slot-set.js";
import { nodeWord } from "./slot-tree.js";

function bucketWord(set: SlotSet, id: number): Address {
  return offset(set, SET_ID_HASH + (id % ID_HASH_BUCKETS) * 4);
}

/** The set's slot with `id`, or `NULL_SLOT` (kernel `id_to_memslot`). */
export function idToMemslot(cpu: Cpu, set: SlotSet, id: number): Slot {
  const nodeIdx = setNodeIdx(cpu, set);
  let slot = cpu.readOnce32(bucketWord(set, id)) as Slot;
  while (slot !== NULL_SLOT && slotId(cpu, slot) !== id) {
    slot = cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_ID_NEXT)) as Slot;
  }
  return slot;
}

/** Adds `slot` to the id hash of an inactive set. */
export function idHashAdd(cpu: Cpu, set: SlotSet, slot: Slot): void {
  const bucket = bucketWord(set, slotId(cpu, slot));
  cpu.writeOnce32(nodeWord(slot, setNodeIdx(cpu, set), NODE_ID_NEXT), cpu.readOnce32(bucket));
  cpu.writeOnce32(bucket, slot);
}

/**
 * Takes `slot` out of the id hash of an inactive set.
 *
 * @throws SlotNotInSetError if it is not there.
 */
export function idHashDel(cpu: Cpu, set: SlotSet, slot: Slot): void {
  const nodeIdx = setNodeIdx(cpu, set);
  const id = slotId(cpu, slot);
  let link = bucketWord(set, id);
  for (;;) {
    const current = cpu.readOnce32(link) as Slot;
    if (current === NULL_SLOT) throw new SlotNotInSetError("id hash", id);
    if (current === slot) break;
    link = nodeWord(current, nodeIdx, NODE_ID_NEXT);
  }
  cpu.writeOnce32(link, cpu.readOnce32(nodeWord(slot, nodeIdx, NODE_ID_NEXT)));
}
