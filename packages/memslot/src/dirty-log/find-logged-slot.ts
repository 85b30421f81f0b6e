import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { MemslotError } from "../errors.js";
import type { Memslots } from "../memslots/memslots.js";
import { idToMemslot } from "../set/id-hash.js";
import { NULL_SLOT, type Slot, slotDirtyBitmap } from "../slot/slot.js";
import { KVM_USER_MEM_SLOTS } from "../slot/slot-limits.js";

/**
 * The slot that a dirty-log request names. Held: `slots_lock`.
 *
 * @param slotArg address space in bits 31:16, id in bits 15:0
 * @throws MemslotError EINVAL for a slot number out of range, ENOENT if there is no such slot or it
 *   has no bitmap.
 */
export function findLoggedSlot(memslots: Memslots, cpu: Cpu, slotArg: number): Slot {
  const asId = slotArg >>> 16;
  const id = slotArg & 0xffff;
  if (asId >= memslots.nrAddressSpaces || id >= KVM_USER_MEM_SLOTS) {
    throw new MemslotError(
      "EINVAL",
      `slot is ${asId}:${id}, allowed: address space below ${memslots.nrAddressSpaces}, id below ${KVM_USER_MEM_SLOTS}`,
    );
  }
  const slot = idToMemslot(cpu, memslots.kvmMemslots(cpu, asId), id);
  if (slot === NULL_SLOT || slotDirtyBitmap(cpu, slot) === NULL_ADDRESS) {
    throw new MemslotError("ENOENT", `slot ${asId}:${id} does not exist or its dirty pages are not logged`);
  }
  return slot;
}
