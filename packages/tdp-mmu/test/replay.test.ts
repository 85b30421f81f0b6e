import type { Cpu } from "@kvm-age/machine";
import { linux73, linux615, PFERR_WRITE_MASK, type PgLevel } from "@kvm-age/spte";
import { arenaDifference, ReplayingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmTdpMmuAgeGfnRange, kvmTdpMmuRecoverHugePages, kvmTdpMmuUnmapGfnRange } from "../src/index.js";
import { Guest, type GuestInit } from "./kit/guest.js";

const WRITE = PFERR_WRITE_MASK;

interface Operation {
  readonly name: string;
  readonly init: GuestInit;
  prepare(guest: Guest): void;
  run(guest: Guest, cpu: Cpu): unknown;
}

const hugeHost = (guest: Guest, level: PgLevel): void => {
  guest.host.level = level;
};

const populate = (guest: Guest): void => {
  for (let page = 0; page < 8; page++) guest.fault(page, page % 2 === 0);
};

const unmap = (guest: Guest, cpu: Cpu): boolean => {
  cpu.writeLock(guest.mmu.mmuLock);
  const flush = kvmTdpMmuUnmapGfnRange(guest.mmu, cpu, guest.range(0, 4), false);
  if (flush) cpu.flushRemoteTlbs(guest.flushDomain, null);
  cpu.writeUnlock(guest.mmu.mmuLock);
  return flush;
};

const OPERATIONS: Operation[] = [
  {
    name: "first fault",
    init: {},
    prepare: () => {},
    run: (guest, cpu) => guest.faultWithCode(3, WRITE, cpu),
  },
  {
    name: "first fault, five levels, NPT",
    init: { mode: "npt", rootLevel: 5 },
    prepare: () => {},
    run: (guest, cpu) => guest.faultWithCode(3, 0, cpu),
  },
  {
    name: "huge fault",
    init: {},
    prepare: (guest) => hugeHost(guest, 2),
    run: (guest, cpu) => guest.faultWithCode(700, WRITE, cpu),
  },
  {
    name: "aging by compare-exchange, native loop",
    init: { ruleSet: linux73 },
    prepare: populate,
    run: (guest, cpu) => kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(0, 16)),
  },
  {
    name: "aging by fetch-and, iterator",
    init: { ruleSet: linux615, options: { leafScan: "iterator" } },
    prepare: populate,
    run: (guest, cpu) => kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(0, 16)),
  },
  {
    name: "access tracking",
    init: { adBits: false },
    prepare: populate,
    run: (guest, cpu) => kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(0, 16)),
  },
  {
    name: "fast page fault after access tracking",
    init: { adBits: false },
    prepare: (guest) => {
      populate(guest);
      kvmTdpMmuAgeGfnRange(guest.mmu, guest.cpu, guest.range(0, 16));
    },
    run: (guest, cpu) => guest.faultWithCode(2, WRITE, cpu),
  },
  { name: "unmap", init: {}, prepare: populate, run: unmap },
  {
    name: "recovery of a huge page, with the teardown of its table",
    init: {},
    prepare: (guest) => {
      populate(guest);
      hugeHost(guest, 2);
    },
    run: (guest, cpu) => {
      cpu.readLock(guest.mmu.mmuLock);
      kvmTdpMmuRecoverHugePages(guest.mmu, cpu, guest.host, guest.slot);
      cpu.readUnlock(guest.mmu.mmuLock);
    },
  },
];

describe.each(OPERATIONS)("$name", (operation) => {
  it("suspended at every access and resumed by replay, ends in the same state", () => {
    const plain = new Guest(operation.init);
    const replayed = new Guest(operation.init);
    operation.prepare(plain);
    operation.prepare(replayed);
    const expected = operation.run(plain, plain.cpu);
    const cpu = new ReplayingCpu(replayed.cpu);
    const result = cpu.run((suspending) => operation.run(replayed, suspending));
    expect(result).toEqual(expected);
    expect(cpu.suspensions).toBeGreaterThan(20);
    expect(arenaDifference(replayed.machine.arena, plain.machine.arena)).toBeNull();
  });
});

it("emits each trace event once, however often the operation is replayed", () => {
  const guest = new Guest();
  const cpu = new ReplayingCpu(guest.cpu, true);
  cpu.run((suspending) => guest.faultWithCode(3, WRITE, suspending));
  const names = cpu.events.map((event) => event.name);
  expect(names.filter((name) => name === "kvm_mmu_set_spte")).toHaveLength(1);
  expect(names.filter((name) => name === "kvm_mmu_get_page")).toHaveLength(3);
  expect(names.filter((name) => name === "kvm_tdp_mmu_spte_changed")).toHaveLength(4);
});

it("finds out code that is not deterministic given its accesses", () => {
  const guest = new Guest();
  const cpu = new ReplayingCpu(guest.cpu);
  let calls = 0;
  expect(() =>
    cpu.run((suspending) => {
      suspending.readOnce32(guest.mmu.rootsWord);
      if (calls++ % 2 === 0) suspending.readOnce32(guest.mmu.pagesWord);
      else suspending.readOnce32(guest.mmu.possibleNxCountWord);
      suspending.readOnce32(guest.mmu.rootsWord);
    }),
  ).toThrow(/access 1 was readOnce32/);
});
