import type { Cpu } from "@kvm-age/machine";
import { kvmDestroyDirtyBitmap } from "../dirty-log/dirty-bitmap.js";
import type { Memslots } from "../memslots/memslots.js";
import { kvmArchFreeMemslot } from "../metadata/slot-metadata.js";
import type { Slot } from "../slot/slot.js";

/** Frees a slot that nobody can reach, with everything it owns (kernel `kvm_free_memslot`). */
export function kvmFreeMemslot(memslots: Memslots, cpu: Cpu, slot: Slot): void {
  kvmDestroyDirtyBitmap(memslots, cpu, slot);
  kvmArchFreeMemslot(memslots, cpu, slot);
  memslots.slotSlab.free(cpu, slot);
}
