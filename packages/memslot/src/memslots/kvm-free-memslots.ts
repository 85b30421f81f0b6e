import { type Cpu, offset } from "@kvm-age/machine";
import { kvmForEachMemslot } from "../lookup/kvm-for-each-memslot.js";
import {
  ID_HASH_BUCKETS,
  SET_GFN_ROOT,
  SET_HVA_ROOT,
  SET_ID_HASH,
  SET_LAST_USED_SLOT,
  type SlotSet,
} from "../set/slot-set.js";
import type { Slot } from "../slot/slot.js";
import { kvmFreeMemslot } from "../update/kvm-free-memslot.js";
import type { Memslots } from "./memslots.js";
import {
  MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT,
  MEMSLOTS_NR_DIRTY_LOGGING,
  MEMSLOTS_NR_PAGES,
} from "./memslots-layout.js";

function emptySet(cpu: Cpu, set: SlotSet): void {
  cpu.writeOnce32(offset(set, SET_LAST_USED_SLOT), 0);
  cpu.writeOnce32(offset(set, SET_GFN_ROOT), 0);
  cpu.writeOnce32(offset(set, SET_HVA_ROOT), 0);
  cpu.memset64(offset(set, SET_ID_HASH), 0n, ID_HASH_BUCKETS / 2);
}

/**
 * Frees all slots of a VM that is being destroyed (kernel `kvm_destroy_vm`, `kvm_free_memslots`): the
 * notifier is unregistered, no vCPU runs, nobody else uses the VM. An unregister between a start and its end
 * may have left the active count above 0; it is reset.
 */
export function kvmFreeMemslots(memslots: Memslots, cpu: Cpu): void {
  cpu.writeOnce32(offset(memslots.address, MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT), 0);
  for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
    const slots: Slot[] = [];
    kvmForEachMemslot(cpu, memslots.kvmMemslots(cpu, asId), (slot) => slots.push(slot));
    for (const index of [0, 1]) emptySet(cpu, memslots.setAt(asId, index));
    for (const slot of slots) kvmFreeMemslot(memslots, cpu, slot);
  }
  cpu.writeOnce(offset(memslots.address, MEMSLOTS_NR_PAGES), 0n);
  cpu.writeOnce32(offset(memslots.address, MEMSLOTS_NR_DIRTY_LOGGING), 0);
}
