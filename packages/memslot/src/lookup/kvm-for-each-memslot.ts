import type { Cpu } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import type { SlotSet } from "../set/slot-set.js";
import { NULL_SLOT, type Slot } from "../slot/slot.js";
import { kvmMemslotIterNext, kvmMemslotIterStart } from "./gfn-range-iterator.js";

const GFN_LIMIT = (2 ** 52) as Gfn;

/** Calls `visit` for every slot of the set, by gfn (kernel `kvm_for_each_memslot`). */
export function kvmForEachMemslot(cpu: Cpu, set: SlotSet, visit: (slot: Slot) => void): void {
  let slot = kvmMemslotIterStart(cpu, set, 0 as Gfn, GFN_LIMIT);
  for (; slot !== NULL_SLOT; slot = kvmMemslotIterNext(cpu, set, slot, GFN_LIMIT)) visit(slot);
}
