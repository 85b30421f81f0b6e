import { type Cpu, offset } from "@kvm-age/machine";
import { MetadataArrays } from "../metadata/metadata-arrays.js";
import { SET_GENERATION, SET_NODE_IDX } from "../set/slot-set.js";
import { SLOT_BYTES } from "../slot/slot.js";
import { Memslots, type MemslotsHandle } from "./memslots.js";
import { type MemslotMachine, type MemslotsInit, resolveMemslotsInit } from "./memslots-init.js";
import { memslotsBytes } from "./memslots-layout.js";

/**
 * Makes the memslots of a new VM: no slots, generation of an address space = its number, set 0 active (kernel
 * `kvm_create_vm`).
 *
 * @throws MemslotsInitError for an option outside its range.
 * @throws OutOfMemoryError if the arena is full.
 */
export function createMemslots(cpu: Cpu, machine: MemslotMachine, init: MemslotsInit): Memslots {
  const options = resolveMemslotsInit(init);
  const address = machine.frames.allocateSpan(cpu, memslotsBytes(machine.maxCpus));
  const slotSlab = machine.createSlab(cpu, "kvm_memory_slot", SLOT_BYTES);
  const memslots = new Memslots(address, options, slotSlab, MetadataArrays.create(cpu, machine));
  for (let asId = 0; asId < options.nrAddressSpaces; asId++) {
    for (let index = 0; index < 2; index++) {
      const set = memslots.setAt(asId, index);
      cpu.writeOnce(offset(set, SET_GENERATION), BigInt(asId));
      cpu.writeOnce32(offset(set, SET_NODE_IDX), index);
    }
    cpu.storeRelease32(memslots.activeSetWord(asId), memslots.setAt(asId, 0));
  }
  return memslots;
}

/** Another thread's view of memslots that exist already. */
export function attachMemslots(machine: MemslotMachine, handle: MemslotsHandle): Memslots {
  const slotSlab = machine.slab(handle.slotSlab);
  return new Memslots(
    handle.address,
    handle.options,
    slotSlab,
    MetadataArrays.attach(machine, handle.arraySlabs),
  );
}
