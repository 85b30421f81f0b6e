import type { Cpu } from "@kvm-age/machine";
import { ACCESS_EMULATE } from "@kvm-age/vcpu";
import type { Random } from "../../actors/programs/torture/random.js";
import type { TortureGuest } from "../../actors/programs/torture/torture-guest.js";
import { tortureGuestOf } from "../../actors/programs/torture/torture-guest-of.js";
import type { Vm } from "../../vm/vm.js";
import type { VmVcpu } from "../../vm/vm-vcpu.js";
import type { SuitePages } from "./suite-pages.js";
import type { SuiteSlots } from "./suite-slots.js";

interface SuiteGuest {
  readonly vcpu: VmVcpu;
  readonly guest: TortureGuest;
}

/** The vCPUs of a suite, which take turns on one thread: each leaves the guest when its turn is over. */
export class SuiteGuests {
  private readonly guests: readonly SuiteGuest[];
  accesses = 0;

  constructor(
    private readonly vm: Vm,
    private readonly cpu: Cpu,
    private readonly random: Random,
  ) {
    this.guests = vm.handle.vcpus.map((_, index) => {
      const vcpu = vm.vcpu(index);
      const guest = tortureGuestOf({ cpu, vm, guest: vcpu, random });
      vcpu.hardware.exitGuest(cpu);
      return { vcpu, guest };
    });
  }

  /** One access of one vCPU; sentences about what is wrong with it. */
  access(slots: SuiteSlots, pages: SuitePages): string[] {
    const { vcpu, guest } = this.next();
    const { random } = this;
    const target = guest.target(random.below(this.vm.config.guestPages));
    const kind = random.oneIn(3) ? "write" : random.oneIn(4) ? "fetch" : "read";
    const pfn = guest.access(target, kind);
    const violations = this.judge(slots, pages, target.page, kind === "write", pfn);
    vcpu.hardware.exitGuest(this.cpu);
    return violations;
  }

  /** One vCPU edits its page tables. */
  disturb(): void {
    const { vcpu, guest } = this.next();
    guest.disturb();
    vcpu.hardware.exitGuest(this.cpu);
  }

  /** Every vCPU flushes what it has cached. */
  flush(): void {
    for (const { guest } of this.guests) guest.finish();
  }

  private next(): SuiteGuest {
    return this.guests[this.random.below(this.guests.length)]!;
  }

  private judge(slots: SuiteSlots, pages: SuitePages, page: number, write: boolean, pfn: number): string[] {
    if (!slots.isMapped(page)) {
      return pfn === ACCESS_EMULATE
        ? []
        : [`page ${page} is in no slot, and was accessed with result ${pfn}`];
    }
    if (pfn < 0) return [`page ${page} was accessed with result ${pfn}`];
    this.accesses++;
    const misread = pages.misread(page, pfn);
    if (write) {
      pages.write(page, pfn);
      slots.noteWrite(page);
    }
    return misread === undefined ? [] : [misread];
  }
}
