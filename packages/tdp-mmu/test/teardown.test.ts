import { RetPf } from "@kvm-age/page-fault";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import {
  destroyTdpMmu,
  destroyTdpMmuVcpu,
  KVM_VALID_ROOTS,
  kvmMmuFreeObsoleteRoots,
  kvmMmuLoad,
  kvmMmuUnload,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuZapInvalidatedRoots,
  RootStateError,
} from "../src/index.js";
import { Guest, type GuestInit } from "./kit/guest.js";
import {
  age,
  harvestDirtyLog,
  leaves,
  spteChanges,
  sptepAt,
  tables,
  underWriteLock,
  unmap,
  WRITE,
} from "./kit/operations.js";
import { EVERY_FORMAT, ofPage, RULE_SETS } from "./kit/reference-values.js";

describe.each(RULE_SETS)("tearing down a dead table while others use it, %s", (_name, ruleSet) => {
  const reference = EVERY_FORMAT.find((format) => format.ruleSet === ruleSet)!;

  it("waits for the owner of a frozen entry and then takes what that one put there", () => {
    const guest = new Guest({ ruleSet });
    for (const page of [512, 513]) guest.fault(page, true);
    const address = sptepAt(guest, 513, 1);
    guest.cpu.writeOnce(address, reference.frozen);
    guest.host.level = 2;
    const act = (): void => guest.cpu.writeOnce(address, ofPage(reference.demand, 513));
    const interfering = new InterferingCpu(guest.cpu, [{ step: "relax", address, nth: 2, act }]);
    const cpu = new RecordingCpu(interfering);
    expect(guest.faultWithCode(800, WRITE, cpu)).toBe(RetPf.fixed);
    expect(interfering.happened).toBe(1);
    expect(guest.cpu.readOnce(address)).toBe(reference.frozen);
    const torn = spteChanges(cpu).filter(({ old_spte }) => old_spte === ofPage(reference.demand, 513));
    expect(torn).toHaveLength(1);
    expect(leaves(guest)).toEqual([0, 1, 0]);
  });

  it("a fault that still stands in the dead table gives up", () => {
    const guest = new Guest({ ruleSet });
    guest.fault(512, true);
    const address = sptepAt(guest, 513, 1);
    const act = (): void => {
      guest.host.level = 2;
      guest.faultWithCode(800, WRITE);
    };
    // Before the read of the 4K entry, after the step into its table.
    const cpu = new InterferingCpu(guest.cpu, [{ step: "readOnce", address, act }]);
    const before = leaves(guest);
    expect(before).toEqual([1, 0, 0]);
    guest.host.level = 1;
    expect(guest.faultWithCode(513, WRITE, cpu)).toBe(RetPf.retry);
    expect(cpu.happened).toBe(1);
    expect(leaves(guest)).toEqual([0, 1, 0]);
  });
});

/** The life of a VM with a bit of everything; `work` runs in the middle. Returns what is left allocated. */
function life(init: GuestInit, work: (guest: Guest) => void): { frames: number; headers: number } {
  const guest = new Guest(init);
  const { cpu, mmu, vcpu, machine } = guest;
  // Slabs keep their frames: let every kind of object have existed once.
  guest.setSlot(1);
  guest.setSlot(0);
  work(guest);
  guest.deleteSlot();
  kvmMmuUnload(mmu, cpu, vcpu);
  underWriteLock(guest, cpu, () => kvmTdpMmuInvalidateRoots(mmu, cpu, KVM_VALID_ROOTS));
  kvmTdpMmuZapInvalidatedRoots(mmu, cpu, false);
  expect(leaves(guest)).toEqual([0, 0, 0]);
  expect(tables(guest)).toBe(0);
  cpu.rcuBarrier();
  destroyTdpMmuVcpu(mmu, cpu, vcpu);
  destroyTdpMmu(mmu, cpu);
  return { frames: machine.frames.allocatedFrames(cpu), headers: mmu.headers.allocatedObjects(cpu) };
}

function reload(guest: Guest): void {
  kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu);
  if (guest.cpu.readOnce32(guest.vcpu.rootHpaWord) === 0) kvmMmuLoad(guest.mmu, guest.cpu, guest.vcpu);
}

const WORK: readonly (readonly [string, (guest: Guest) => void])[] = [
  [
    "faults",
    (guest) => {
      for (const page of [1, 600, 1100]) guest.fault(page, true);
    },
  ],
  ["an MMIO fault", (guest) => void guest.faultWithCode(9000, 0)],
  [
    "aging and unmapping",
    (guest) => {
      guest.fault(3, true);
      age(guest, 0, 2048);
      unmap(guest, 0, 2048);
    },
  ],
  [
    "a table replaced by a huge page",
    (guest) => {
      guest.fault(3, true);
      guest.host.level = 2;
      guest.faultWithCode(4, WRITE);
    },
  ],
  [
    "dirty logging with split and recovery",
    (guest) => {
      guest.host.level = 2;
      guest.fault(3, true);
      guest.setSlot(1);
      guest.fault(3, true);
      harvestDirtyLog(guest);
      guest.setSlot(0);
    },
  ],
  [
    "a slot deleted and made again",
    (guest) => {
      guest.fault(3, true);
      guest.deleteSlot();
      guest.setSlot(0);
      reload(guest);
      guest.fault(3, true);
    },
  ],
  [
    "an entry destroyed by hazard D1",
    (guest) => {
      for (const page of [512, 513]) guest.fault(page, true);
      const address = sptepAt(guest, 512, 1);
      guest.host.level = 2;
      const act = (): void => void guest.faultWithCode(800, WRITE);
      const step = guest.format.rules.agingUpdate === "fetch-and" ? "fetchAnd" : "cmpxchg";
      age(guest, 512, 514, new InterferingCpu(guest.cpu, [{ step, address, act }]));
    },
  ],
];

describe.each(RULE_SETS)("nothing is left after the life of a VM, %s", (_name, ruleSet) => {
  const idle = life({ ruleSet }, () => {});

  it("no descriptor, even if it did nothing", () => expect(idle.headers).toBe(0));

  it.each(WORK)("after %s", (_what, work) => {
    expect(life({ ruleSet }, work)).toEqual(idle);
  });
});

describe("destroying a TDP MMU", () => {
  it("with a root on the list is refused", () => {
    const guest = new Guest();
    expect(() => destroyTdpMmu(guest.mmu, guest.cpu)).toThrow(RootStateError);
  });

  it("with tables linked is refused", () => {
    const guest = new Guest();
    guest.cpu.writeOnce32(guest.mmu.rootsWord, 0);
    guest.cpu.writeOnce32(guest.mmu.pagesWord, 3);
    expect(() => destroyTdpMmu(guest.mmu, guest.cpu)).toThrow(/3 linked tables/);
  });
});
