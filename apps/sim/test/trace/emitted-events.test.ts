import { type TraceEvent, traceTo } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES, kvmGetDirtyLog, kvmSetMemoryRegion } from "@kvm-age/memslot";
import { assertSchemaEvent } from "@kvm-age/trace";
import { describe, expect, it } from "vitest";
import { buildGuestWindows, windowTablePages } from "../../src/actors/programs/torture/guest-windows.js";
import { tortureSlots } from "../../src/actors/programs/torture/layout.js";
import { Random } from "../../src/actors/programs/torture/random.js";
import { setTortureSlot } from "../../src/actors/programs/torture/torture-mover.js";
import { SuiteGuests } from "../../src/compliance/suite/suite-guests.js";
import { SuiteHost } from "../../src/compliance/suite/suite-host.js";
import { SuitePages } from "../../src/compliance/suite/suite-pages.js";
import { SuiteSlots } from "../../src/compliance/suite/suite-slots.js";
import { tearDown } from "../../src/compliance/tear-down.js";
import type { MmuOptions } from "../../src/options/mmu-options.js";
import { isNote } from "../../src/tracing/notes.js";
import { type CreatedVm, createVm } from "../../src/vm/create-vm.js";
import { MMUS, type Mmu } from "../../src/vm/mmu-shape.js";

const GUEST_PAGES = 1024;
const VCPUS = 2;
const OPERATIONS = 800;
const SEED = 20_261_205;

type Shape = Pick<MmuOptions, "mmu" | "mmuMode" | "adBits" | "ruleSet" | "policy">;

/** Every MMU under every rule set, EPT with and without A/D bits, NPT. */
const SHAPES: readonly Shape[] = MMUS.flatMap((mmu) =>
  (["linux-6.12", "linux-6.15", "linux-7.3"] as const).flatMap((ruleSet) => [
    { mmu, ruleSet, mmuMode: "ept", adBits: true, policy: "lockless" } as const,
    ...(mmu === "shadow"
      ? []
      : [
          { mmu, ruleSet, mmuMode: "ept", adBits: false, policy: "locked" } as const,
          { mmu, ruleSet, mmuMode: "npt", adBits: true, policy: "lockless" } as const,
        ]),
  ]),
);

const nameOf = ({ mmu, mmuMode, adBits, ruleSet, policy }: Shape): string =>
  `${mmu} ${mmuMode} ${adBits ? "A/D" : "no A/D"} ${ruleSet} ${policy}`;

function tracedVm(shape: Shape, events: TraceEvent[]): CreatedVm {
  const created = createVm(
    {
      ...shape,
      seed: SEED,
      vcpus: VCPUS,
      guestPages: GUEST_PAGES,
      hugePages: true,
      hostPages: GUEST_PAGES + 1024,
      memoryLimitPages: GUEST_PAGES,
      swapSlots: GUEST_PAGES,
      contents: true,
      recordAccesses: false,
      lockdep: false,
      sanitizer: false,
      spareGuestTablePages: windowTablePages(VCPUS),
      tuning: { nxHugePages: true },
    },
    traceTo((_cpu, event) => void events.push(event)),
  );
  const { vm, cpu } = created;
  buildGuestWindows(vm, cpu);
  const whole = { slot: 1, flags: 0, guestPhysAddr: vm.gpaOf(0), memorySize: 0, userspaceAddr: vm.hvaOf(0) };
  kvmSetMemoryRegion(vm.memslots, cpu, vm.kvm, whole);
  for (const slot of Object.values(tortureSlots(vm.handle))) setTortureSlot({ vm, cpu }, slot, {});
  return created;
}

/** Guests access and edit their page tables while the host ages, reclaims, unmaps, moves slots and logs dirty pages. */
function operate({ vm, cpu }: CreatedVm): void {
  const choices = new Random(SEED);
  const guests = new SuiteGuests(vm, cpu, new Random(SEED + 1));
  const host = new SuiteHost(vm, cpu);
  const pages = new SuitePages(vm, cpu);
  const slots = new SuiteSlots(vm, cpu);
  for (let operation = 0; operation < OPERATIONS; operation++) {
    const choice = choices.below(32);
    if (choice < 14) guests.access(slots, pages);
    else if (choice < 17) guests.disturb();
    else if (choice < 22) host.age(choices);
    else if (choice < 24) slots.harvest();
    else if (choice < 26) slots.toggleLogging();
    else if (choice < 28) slots.move(choices.below(2));
    else if (choice === 28) host.remap(choices, pages);
    else if (choice === 29) host.trim(choices);
    else host.reclaim(choices);
  }
  guests.flush();
}

/** An access outside every slot, which a second one finds cached. */
function accessNothing({ vm, cpu }: CreatedVm): void {
  const { hardware } = vm.vcpu(0);
  for (let access = 0; access < 2; access++) hardware.access(cpu, 0x1000_0000, "read");
  hardware.exitGuest(cpu);
}

/** A page of the logged slot is written to before and after its dirty bit is harvested. */
function writeAgain({ vm, cpu }: CreatedVm): void {
  const { logged } = tortureSlots(vm.handle);
  const { hardware } = vm.vcpu(0);
  setTortureSlot({ vm, cpu }, logged, { flags: KVM_MEM_LOG_DIRTY_PAGES });
  for (let round = 0; round < 2; round++) {
    hardware.access(cpu, vm.gpaOf(logged.firstPage), "write");
    hardware.exitGuest(cpu);
    kvmGetDirtyLog(vm.memslots, cpu, vm.kvm, logged.id);
  }
  setTortureSlot({ vm, cpu }, logged, { flags: 0 });
}

function eventsOf(shape: Shape): TraceEvent[] {
  const events: TraceEvent[] = [];
  const created = tracedVm(shape, events);
  if (MMU_WITHOUT_GUEST_TABLES.includes(shape.mmu)) {
    accessNothing(created);
    writeAgain(created);
  }
  operate(created);
  tearDown(created);
  return events.filter((event) => !isNote(event));
}

/** Whose guests reach any guest-physical address without page tables of their own. */
const MMU_WITHOUT_GUEST_TABLES: readonly Mmu[] = ["tdp", "direct"];

/** What a run of any length must show. */
const EVERYWHERE = [
  "kvm_age_hva",
  "kvm_test_age_hva",
  "kvm_unmap_hva_range",
  "kvm_page_fault",
  "kvm_mmu_spte_requested",
  "kvm_mmu_set_spte",
  "kvm_mmu_get_page",
  "kvm_mmu_prepare_zap_page",
  "kvm_mmu_zap_all_fast",
];

const OF_MMU: Readonly<Record<Mmu, readonly string[]>> = {
  tdp: [
    "kvm_tdp_mmu_spte_changed",
    "fast_page_fault",
    "mark_mmio_spte",
    "check_mmio_spte",
    "handle_mmio_page_fault",
  ],
  direct: ["fast_page_fault", "mark_mmio_spte"],
  shadow: [
    "kvm_mmu_pagetable_walk",
    "kvm_mmu_paging_element",
    "kvm_mmu_set_accessed_bit",
    "kvm_mmu_set_dirty_bit",
  ],
  "tdp+nested": ["kvm_tdp_mmu_spte_changed", "kvm_mmu_pagetable_walk", "kvm_mmu_paging_element"],
};

describe.each(SHAPES.map((shape) => [nameOf(shape), shape] as const))(
  "the events of a VM, %s",
  (_name, shape) => {
    const events = eventsOf(shape);

    it("are those that the kernel has", () => {
      const names = new Set(events.map(({ name }) => name));
      expect([...names]).toEqual(expect.arrayContaining([...EVERYWHERE, ...OF_MMU[shape.mmu]]));
    });

    it("carry what the schema says, every one of them", () => {
      for (const { name, fields } of events) assertSchemaEvent(name, fields);
      expect(events.flatMap(({ fields }) => Object.values(fields)).filter((value) => value === null)).toEqual(
        [],
      );
    });

    it("show entries at physical addresses, and generations that alternate", () => {
      const generations = events
        .filter(({ name }) => name === "kvm_mmu_zap_all_fast")
        .map(({ fields }) => fields.mmu_valid_gen);
      expect(generations).toEqual(generations.map((_, index) => index % 2));
      for (const { fields } of events.filter(({ name }) => name === "kvm_mmu_set_spte")) {
        expect((fields.sptep as number) % 8).toBe(0);
      }
    });
  },
);
