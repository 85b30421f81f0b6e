import { kvmSetMemoryRegion } from "@kvm-age/memslot";
import { noteSlotDeleted } from "../../../tracing/notes.js";
import { pagesPerTestSlot, type TestSlot, testSlots } from "../../../vm/test-slots.js";
import type { Vm } from "../../../vm/vm.js";
import type { Actor } from "../../actor.js";

/** The slots that the test deletes: those with even numbers, from the top down. */
export function slotsToRemove(vm: Vm): TestSlot[] {
  return testSlots(vm.handle)
    .filter(({ slot }) => slot % 2 === 0)
    .reverse();
}

/** Pages of host memory that the test unmaps: the first half, in whole pages. */
export function pagesToUnmap(vm: Vm): number {
  return Math.floor(pagesPerTestSlot(vm.config) / 2);
}

/** The end of mmu_stress_test: deletes slots, then unmaps half of the memory that the others still map. */
export function removeSlots(actor: Actor): null {
  const { cpu, vm } = actor;
  for (const { slot, gpa, hva } of slotsToRemove(vm)) {
    const region = { slot, flags: 0, guestPhysAddr: gpa, memorySize: 0, userspaceAddr: hva };
    kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, region);
    noteSlotDeleted(cpu, slot);
  }
  vm.hostMm.munmap(cpu, vm.hvaOf(0), pagesToUnmap(vm) * 4096);
  return null;
}
