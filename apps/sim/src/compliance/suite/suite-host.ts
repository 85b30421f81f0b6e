import type { Cpu } from "@kvm-age/machine";
import { kvmShadowRecoverNxHugePages } from "@kvm-age/shadow-mmu";
import { kvmRecoverNxHugePages } from "@kvm-age/tdp-mmu";
import type { Random } from "../../actors/programs/torture/random.js";
import type { Vm } from "../../vm/vm.js";
import type { SuitePages } from "./suite-pages.js";

const LEAST_QUOTA = 48;
const COMFORTABLE_QUOTA = 400;

/** What the host does to a suite's VM: ages, reclaims, unmaps, protects, recovers huge pages. */
export class SuiteHost {
  constructor(
    private readonly vm: Vm,
    private readonly cpu: Cpu,
  ) {}

  /** Ages a range in one of the ways there are; sentences about answers that are wrong. */
  age(random: Random): string[] {
    const { vm, cpu } = this;
    const { notifiers } = vm.hostMm;
    const { guestTables, config } = vm.handle;
    const page = random.below(config.guestPages);
    const pages = 1 + random.below(Math.min(700, config.guestPages - page));
    const start = vm.hvaOf(page);
    switch (random.below(4)) {
      case 0:
        notifiers.clearYoung(cpu, start, start + pages * 4096);
        return [];
      case 1:
        if (guestTables !== null) {
          notifiers.clearYoung(cpu, guestTables.hva, guestTables.hva + guestTables.pages * 4096);
        }
        return [];
      case 2:
        notifiers.testYoung(cpu, start);
        return [];
      default:
        notifiers.clearFlushYoung(cpu, start, start + 4096);
        // Nobody has accessed it since: both MMUs must have forgotten.
        return notifiers.testYoung(cpu, start) ? [`page ${page} is young right after it was aged`] : [];
    }
  }

  /** Takes pages away, wanted or not. */
  reclaim(random: Random): void {
    for (let folios = 1 + random.below(16); folios > 0; folios--) this.vm.hostMm.shrinkOneFolio(this.cpu);
  }

  /** Drops a few pages, makes a few read-only and writable again, or splits a huge mapping. */
  remap(random: Random, dropped: SuitePages): void {
    const { vm, cpu } = this;
    const page = random.below(vm.config.guestPages - 16);
    const pages = 1 + random.below(16);
    const start = vm.hvaOf(page);
    switch (random.below(3)) {
      case 0:
        vm.hostMm.madviseDontneed(cpu, start, pages * 4096);
        dropped.forget(page, pages);
        break;
      case 1:
        vm.hostMm.mprotect(cpu, start, pages * 4096, false);
        vm.hostMm.mprotect(cpu, start, pages * 4096, true);
        break;
      default:
        vm.hostMm.splitHugePmd(cpu, start);
    }
  }

  /** A period of the NX recovery worker, or a quota that hardly leaves the roots. */
  trim(random: Random): void {
    const { vm, cpu } = this;
    if (random.oneIn(2)) {
      vm.kvm.changeMmuPages(cpu, LEAST_QUOTA);
      vm.kvm.changeMmuPages(cpu, COMFORTABLE_QUOTA);
      return;
    }
    if (vm.tdp !== null) kvmRecoverNxHugePages(vm.tdp, cpu);
    if (vm.shadow !== null) kvmShadowRecoverNxHugePages(vm.shadow, cpu);
  }
}
