import { withAddressSanitizer, withLockdep } from "@kvm-age/machine";
import { kvmSetMemoryRegion } from "@kvm-age/memslot";
import { buildGuestWindows, windowTablePages } from "../../actors/programs/torture/guest-windows.js";
import { tortureSlots } from "../../actors/programs/torture/layout.js";
import { Random } from "../../actors/programs/torture/random.js";
import { setTortureSlot } from "../../actors/programs/torture/torture-mover.js";
import { type CreatedVm, createVm } from "../../vm/create-vm.js";
import { checkCompliance } from "../check-compliance.js";
import { describeViolation } from "../compliance-report.js";
import { kvmLockGraph } from "../kvm-lock-order.js";
import { tearDown } from "../tear-down.js";
import { withComplianceWatch } from "../watch/with-compliance-watch.js";
import { SuiteGuests } from "./suite-guests.js";
import { SuiteHost } from "./suite-host.js";
import { mappingsWithoutAge } from "./suite-mappings.js";
import { SUITE_GUEST_PAGES, SUITE_VCPUS, type SuiteOptions, type SuiteResult } from "./suite-options.js";
import { SuitePages } from "./suite-pages.js";
import { SuiteSlots } from "./suite-slots.js";

/** A VM like those of a torture run, on this thread alone, under every layer that checks. */
function createSuiteVm(options: SuiteOptions): CreatedVm {
  const created = createVm(
    {
      ...options,
      vcpus: SUITE_VCPUS,
      guestPages: SUITE_GUEST_PAGES,
      hostPages: SUITE_GUEST_PAGES + 1024,
      memoryLimitPages: SUITE_GUEST_PAGES,
      swapSlots: SUITE_GUEST_PAGES,
      contents: true,
      recordAccesses: false,
      lockdep: true,
      sanitizer: true,
      complianceWatch: true,
      spareGuestTablePages: windowTablePages(SUITE_VCPUS),
    },
    (cpu, machine) => withLockdep(kvmLockGraph())(withAddressSanitizer(machine.frames)(cpu)),
  );
  const { vm, machine } = created;
  buildGuestWindows(vm, created.cpu);
  const cpu = withComplianceWatch(machine, vm.handle)(created.cpu);
  const whole = { slot: 1, flags: 0, guestPhysAddr: vm.gpaOf(0), memorySize: 0, userspaceAddr: vm.hvaOf(0) };
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, whole);
  for (const slot of Object.values(tortureSlots(vm.handle))) setTortureSlot({ vm, cpu }, slot, {});
  return { vm, machine, cpu };
}

/** One run: its VM, and what is known of it. */
class ComplianceSuite {
  private readonly guests: SuiteGuests;
  private readonly host: SuiteHost;
  private readonly pages: SuitePages;
  private readonly slots: SuiteSlots;
  private readonly violations: string[] = [];

  constructor(
    private readonly created: CreatedVm,
    private readonly options: SuiteOptions,
  ) {
    const { vm, cpu } = created;
    this.guests = new SuiteGuests(vm, cpu, new Random(options.seed));
    this.host = new SuiteHost(vm, cpu);
    this.pages = new SuitePages(vm, cpu);
    this.slots = new SuiteSlots(vm, cpu);
  }

  run(): SuiteResult {
    const { operations, checkEvery, seed } = this.options;
    const choices = new Random(seed + 1);
    for (let operation = 1; operation <= operations && this.violations.length === 0; operation++) {
      // Each operation has choices of its own, so that leaving one out changes no other.
      this.operate(choices.below(32), new Random(seed + operation * 2_654_435));
      if (operation % checkEvery === 0) this.check(false);
    }
    this.guests.flush();
    this.check(true);
    const mappings = [...mappingsWithoutAge(this.created.vm, this.created.cpu), ...this.slots.harvests];
    const violations = [...this.violations, ...tearDown(this.created)];
    return { violations, accesses: this.guests.accesses, mappings };
  }

  private operate(choice: number, random: Random): void {
    const { ages = true, reclaims = true } = this.options;
    if (choice < 16) this.violations.push(...this.guests.access(this.slots, this.pages));
    else if (choice < 20) this.guests.disturb();
    else if (choice < 24) this.violations.push(...(ages ? this.host.age(random) : []));
    else if (choice < 26) this.violations.push(...this.slots.harvest());
    else if (choice === 26) this.slots.toggleLogging();
    else if (choice === 27) this.slots.move(random.below(2));
    else if (choice === 28) this.host.remap(random, this.pages);
    else if (choice === 29) this.host.trim(random);
    else if (reclaims) this.host.reclaim(random);
  }

  private check(guestsFlushed: boolean): void {
    const { vm, cpu } = this.created;
    const { violations } = checkCompliance(vm, cpu, { guestsFlushed });
    this.violations.push(...violations.map(describeViolation));
  }
}

/**
 * The compliance suite: a VM of any shape, under any policy, whose guests access and edit their page tables while the host ages, reclaims, unmaps, moves
 * slots and logs dirty pages: one operation after the other on one thread, at random by a seed, with every layer that checks, and the VM at
 * rest checked every so often. Ends at the first violation.
 */
export function runComplianceSuite(options: SuiteOptions): SuiteResult {
  return new ComplianceSuite(createSuiteVm(options), options).run();
}
