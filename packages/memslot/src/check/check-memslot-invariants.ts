import { type Cpu, offset } from "@kvm-age/machine";
import { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import { mmuInvalidateInProgress } from "../invalidate/kvm-mmu-invalidate.js";
import type { Memslots } from "../memslots/memslots.js";
import { MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT } from "../memslots/memslots-layout.js";
import { kvmSlotDirtyTrackEnabled, type Slot, slotNpages } from "../slot/slot.js";
import { checkSlot } from "./check-slot.js";
import { checkSlotSet } from "./check-slot-set.js";

/** Both sets of an address space, and that they are the same. Returns the slots. */
function checkAddressSpace(memslots: Memslots, cpu: Cpu, asId: number, report: string[]): Slot[] {
  const active = checkSlotSet(cpu, memslots.kvmMemslots(cpu, asId), `as ${asId} active set`, report);
  const inactive = checkSlotSet(cpu, memslots.inactiveMemslots(cpu, asId), `as ${asId} inactive set`, report);
  const same = active.length === inactive.length && active.every((slot, index) => slot === inactive[index]);
  if (!same) report.push(`as ${asId}: the active and the inactive set hold different slots`);
  for (const slot of active) report.push(...checkSlot(memslots, cpu, asId, slot));
  const generation = memslots.generation(cpu, asId);
  if ((generation & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS) !== 0n) {
    report.push(`as ${asId}: generation ${generation} has bit 63 although no update runs`);
  } else if (generation % BigInt(memslots.nrAddressSpaces) !== BigInt(asId)) {
    report.push(`as ${asId}: generation ${generation} belongs to another address space`);
  }
  return active;
}

function checkTotals(memslots: Memslots, cpu: Cpu, slots: readonly Slot[], report: string[]): void {
  const pages = slots.reduce((sum, slot) => sum + slotNpages(cpu, slot), 0);
  const expected: readonly (readonly [string, number, number])[] = [
    ["nr_memslot_pages", Number(memslots.nrMemslotPages(cpu)), pages],
    [
      "nr_memslots_dirty_logging",
      memslots.nrMemslotsDirtyLogging(cpu),
      slots.filter((slot) => kvmSlotDirtyTrackEnabled(cpu, slot)).length,
    ],
    ["slot structures in use", memslots.slotSlab.allocatedObjects(cpu), slots.length],
  ];
  for (const [what, found, wanted] of expected) {
    if (found !== wanted) report.push(`${what} is ${found}, the slots add up to ${wanted}`);
  }
}

function checkInvalidation(memslots: Memslots, cpu: Cpu, report: string[]): void {
  const active = cpu.readOnce32(offset(memslots.address, MEMSLOTS_MN_ACTIVE_INVALIDATE_COUNT));
  const inProgress = mmuInvalidateInProgress(memslots, cpu);
  if (inProgress > active) {
    report.push(`mmu_invalidate_in_progress is ${inProgress} with ${active} active notifier invalidation(s)`);
  }
}

/**
 * Checks what must hold of memslots while no operation runs (open invalidations are allowed): the three
 * indexes of every set hold the same slots in the right order, both sets agree, slots do not overlap, totals
 * and generations fit, every slot has the arrays it must have. Returns one readable line per violation, none
 * if all is well.
 */
export function checkMemslotInvariants(memslots: Memslots, cpu: Cpu): string[] {
  const report: string[] = [];
  const slots: Slot[] = [];
  for (let asId = 0; asId < memslots.nrAddressSpaces; asId++) {
    slots.push(...checkAddressSpace(memslots, cpu, asId, report));
  }
  checkTotals(memslots, cpu, slots, report);
  checkInvalidation(memslots, cpu, report);
  return report;
}
