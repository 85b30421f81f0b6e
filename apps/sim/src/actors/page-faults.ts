import type { Cpu } from "@kvm-age/machine";
import type { Vm } from "../vm/vm.js";

const NOT_MAPPED = -1;

/** Counts one vCPU's faults, and among them refaults: on pages that were mapped once and that reclaim took away. */
export class PageFaults {
  faults = 0;
  refaults = 0;
  private readonly touched: Uint8Array;

  constructor(private readonly vm: Vm) {
    this.touched = new Uint8Array(vm.config.guestPages);
  }

  /** A fault at `gpa` is about to be handled. */
  count(cpu: Cpu, gpa: number): void {
    const page = Math.floor(gpa / 4096) - this.vm.handle.baseGfn;
    this.faults++;
    if (this.touched[page] === 1 && this.vm.hostMm.pagemapLookup(cpu, this.vm.hvaOf(page)) === NOT_MAPPED) {
      this.refaults++;
    }
    this.touched[page] = 1;
  }
}
