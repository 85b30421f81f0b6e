import type { Cpu } from "@kvm-age/machine";
import { gfnToHvaMemslot, kvmForEachMemslot, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import type { Gfn } from "@kvm-age/spte";
import type { Vm } from "../vm/vm.js";

/** What a gfn is for which the host has mapped nothing. */
const NOTHING_MAPPED = -1;

/** What the host has mapped for every gfn of every slot of address space 0, as of one moment at rest. */
export class GuestMemoryMap {
  private readonly pfns = new Map<number, number>();
  private readonly gfns = new Map<number, number[]>();

  constructor(vm: Vm, cpu: Cpu) {
    kvmForEachMemslot(cpu, vm.memslots.kvmMemslots(cpu, 0), (slot) => this.addSlot(vm, cpu, slot));
  }

  /** The host pfn for a gfn, negative if the host has none for it, or no slot has the gfn. */
  pfnOf(gfn: number): number {
    return this.pfns.get(gfn) ?? NOTHING_MAPPED;
  }

  /** The gfns that a host pfn is mapped for: several if slots share host memory. */
  gfnsOf(pfn: number): readonly number[] {
    return this.gfns.get(pfn) ?? [];
  }

  private addSlot(vm: Vm, cpu: Cpu, slot: Slot): void {
    const base = slotBaseGfn(cpu, slot);
    for (let gfn: number = base; gfn < base + slotNpages(cpu, slot); gfn++) {
      const pfn = vm.hostMm.pagemapLookup(cpu, gfnToHvaMemslot(cpu, slot, gfn as Gfn));
      if (pfn < 0) continue;
      this.pfns.set(gfn, pfn);
      this.gfns.set(pfn, [...this.gfnsOf(pfn), gfn]);
    }
  }
}
