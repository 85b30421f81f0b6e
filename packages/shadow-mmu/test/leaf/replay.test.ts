import type { Cpu } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import { linux73, linux615 } from "@kvm-age/spte";
import { arenaDifference, ReplayingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { LeafGuest, type LeafGuestInit, PRESENT, WRITE } from "./kit/leaf-guest.js";
import { NestedGuest } from "./kit/nested-guest.js";

interface Operation {
  readonly name: string;
  readonly init: LeafGuestInit;
  prepare(guest: LeafGuest): void;
  run(guest: LeafGuest, cpu: Cpu): unknown;
}

const populate = (guest: LeafGuest): void => {
  for (let page = 0; page < 8; page++) guest.touch(page, page % 2 === 0);
};

const ageAll = (guest: LeafGuest, cpu: Cpu): boolean => guest.age(0, 16, cpu);

const OPERATIONS: Operation[] = [
  {
    name: "first fault",
    init: {},
    prepare: () => {},
    run: (guest, cpu) => guest.faultWithCode(3, WRITE, cpu).ret,
  },
  {
    name: "first fault with prefetch, paging off",
    init: { mode: "shadow" },
    prepare: (guest) => {
      guest.host.prefetchable = true;
    },
    run: (guest, cpu) => guest.faultWithCode(3, 0, cpu).ret,
  },
  {
    name: "huge fault over a table",
    init: { mode: "npt" },
    prepare: (guest) => {
      guest.touch(700, true);
      guest.host.level = 2;
    },
    run: (guest, cpu) => guest.faultWithCode(701, WRITE, cpu).ret,
  },
  { name: "aging by compare-exchange", init: { ruleSet: linux73 }, prepare: populate, run: ageAll },
  { name: "aging by AND", init: { ruleSet: linux615 }, prepare: populate, run: ageAll },
  { name: "access tracking", init: { adBits: false }, prepare: populate, run: ageAll },
  {
    name: "aging under mmu_lock",
    init: { adBits: false, options: { aging: "mmu-lock-write" } },
    prepare: populate,
    run: ageAll,
  },
  {
    name: "a test that stops early",
    init: {},
    prepare: populate,
    run: (guest, cpu) => guest.testAge(0, 16, cpu),
  },
  {
    name: "fast page fault after access tracking",
    init: { adBits: false },
    prepare: (guest) => {
      populate(guest);
      guest.age(0, 16);
    },
    run: (guest, cpu) => guest.faultWithCode(2, WRITE, cpu).ret,
  },
  {
    name: "fast page fault that gives W back",
    init: {},
    prepare: (guest) => {
      populate(guest);
      guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
      guest.harvestDirtyLog();
    },
    run: (guest, cpu) => guest.faultWithCode(2, PRESENT | WRITE, cpu).ret,
  },
  {
    name: "MMIO",
    init: {},
    prepare: () => {},
    run: (guest, cpu) => guest.faultWithCode(2048, WRITE, cpu).ret,
  },
  { name: "unmap", init: {}, prepare: populate, run: (guest, cpu) => guest.unmap(0, 4, false, cpu) },
  {
    name: "unmap that may block",
    init: {},
    prepare: populate,
    run: (guest, cpu) => guest.unmap(0, 4, true, cpu),
  },
  {
    name: "dirty-log harvest",
    init: {},
    prepare: (guest) => {
      populate(guest);
      guest.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    },
    run: (guest, cpu) => guest.harvestDirtyLog(cpu),
  },
];

function compare(make: () => LeafGuest, operation: Pick<Operation, "prepare" | "run">): number {
  const plain = make();
  const replayed = make();
  operation.prepare(plain);
  operation.prepare(replayed);
  const expected = operation.run(plain, plain.cpu);
  const cpu = new ReplayingCpu(replayed.cpu);
  const result = cpu.run((suspending) => operation.run(replayed, suspending));
  expect(result).toEqual(expected);
  expect(arenaDifference(replayed.machine.arena, plain.machine.arena)).toBeNull();
  return cpu.suspensions;
}

describe.each(OPERATIONS)("$name", (operation) => {
  it("suspended at every access and resumed by replay, ends in the same state", () => {
    const suspensions = compare(() => new LeafGuest({ ...operation.init, bare: true }), operation);
    expect(suspensions).toBeGreaterThan(10);
  });
});

describe("nested", () => {
  it("an indirect fault and an age pass over L2's page end in the same state", () => {
    const make = (): NestedGuest => {
      const guest = new NestedGuest({ bare: true });
      guest.mapL2(7, 3);
      return guest;
    };
    const l2Fault = {
      prepare: () => {},
      run: (guest: LeafGuest, cpu: Cpu) => (guest as NestedGuest).l2Fault(7, WRITE, cpu).ret,
    };
    expect(compare(make, l2Fault)).toBeGreaterThan(100);
    const age = {
      prepare: (guest: LeafGuest) => void (guest as NestedGuest).l2Fault(7, WRITE),
      run: (guest: LeafGuest, cpu: Cpu) => guest.age(3, 4, cpu),
    };
    expect(compare(make, age)).toBeGreaterThan(20);
  });
});

it("emits each trace event once, however often the operation is replayed", () => {
  const guest = new LeafGuest({ bare: true });
  const cpu = new ReplayingCpu(guest.cpu, true);
  cpu.run((suspending) => guest.faultWithCode(3, WRITE, suspending).ret);
  const names = cpu.events.map((event) => event.name);
  expect(names.filter((name) => name === "kvm_mmu_set_spte")).toHaveLength(1);
  expect(names.filter((name) => name === "kvm_mmu_spte_requested")).toHaveLength(1);
  expect(names.filter((name) => name === "kvm_mmu_get_page")).toHaveLength(3);
});
