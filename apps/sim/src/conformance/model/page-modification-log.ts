import type { Cpu } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, type Memslots, markPageDirtyInSlot, NULL_SLOT } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";

/**
 * Page-modification logging (PML) in its effect: a page whose D bit the processor sets is dirty in the slot's bitmap, into which KVM empties the
 * processor's log before anybody reads it.
 *
 * @param isDirty whether the page's leaf has D
 * @param access what the guest does with the page
 */
export function withPageModificationLog(
  memslots: Memslots,
  cpu: Cpu,
  gfn: number,
  isDirty: () => boolean,
  access: () => void,
): void {
  const before = isDirty();
  access();
  if (!before && isDirty()) logModifiedPage(memslots, cpu, gfn);
}

/** The page whose D bit the processor set is dirty in its slot's bitmap, if the slot is logged. */
export function logModifiedPage(memslots: Memslots, cpu: Cpu, gfn: number): void {
  const slot = memslots.gfnToMemslot(cpu, 0, gfn as Gfn);
  if (slot !== NULL_SLOT && kvmSlotDirtyTrackEnabled(cpu, slot)) markPageDirtyInSlot(cpu, slot, gfn as Gfn);
}
