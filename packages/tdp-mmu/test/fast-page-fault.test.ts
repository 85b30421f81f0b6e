import type { Cpu } from "@kvm-age/machine";
import { fastPageFault, KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { PFERR_FETCH_MASK } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmTdpMmuWrprotSlot } from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import {
  age,
  dirtyBit,
  leaves,
  PRESENT,
  READ,
  sptepAt,
  trackWrites,
  underReadLock,
  WRITE,
} from "./kit/operations.js";
import { EVERY_FORMAT, ofPage } from "./kit/reference-values.js";

const FETCH = PFERR_FETCH_MASK;
const NOT_PRESENT = 0x8000000000000000n;
const WITH_AD = EVERY_FORMAT.filter(({ adBits }) => adBits);
const WITHOUT_AD = EVERY_FORMAT.filter(({ adBits }) => !adBits);

function fast(guest: Guest, page: number, code: number, cpu: Cpu = guest.cpu): RetPf {
  const fault = new KvmPageFault((SLOT_GFN + page) * 4096, code, false);
  fault.slot = guest.slot;
  return fastPageFault(guest.mmu, cpu, guest.vcpu.id, fault, guest.vcpu.locklessWalk);
}

function pfFast(guest: Guest): number {
  return guest.mmu.statistics.read(guest.cpu).pf_fast;
}

/** A guest with page 3 mapped, then write-protected by dirty logging. */
function loggedGuest(init: ConstructorParameters<typeof Guest>[0]): Guest {
  const guest = new Guest(init);
  guest.fault(3, true);
  guest.setSlot(1);
  return guest;
}

describe.each(EVERY_FORMAT)("a fast page fault, $name", (reference) => {
  it("leaves a path without a leaf to the slow path", () => {
    const guest = new Guest(reference.init);
    expect(fast(guest, 3, PRESENT | WRITE)).toBe(RetPf.invalid);
    guest.fault(4, true);
    expect(fast(guest, 3, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(pfFast(guest)).toBe(0);
  });

  it("is spurious if the entry allows the access", () => {
    const guest = new Guest(reference.init);
    guest.fault(3, true);
    expect(fast(guest, 3, PRESENT | WRITE)).toBe(RetPf.spurious);
    expect(pfFast(guest)).toBe(1);
  });

  it("gives W back to a page that lost it for dirty logging, and logs it", () => {
    const guest = loggedGuest(reference.init);
    expect(guest.spte(3)).toBe(ofPage(reference.logged, 3));
    const cpu = new RecordingCpu(guest.cpu);
    expect(fast(guest, 3, PRESENT | WRITE, cpu)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(dirtyBit(guest, 3)).toBe(true);
    expect(leaves(guest)).toEqual([1, 0, 0]);
    expect(pfFast(guest)).toBe(1);
    expect(cpu.log).toEqual(["rcu_read_lock", "fast_page_fault", "rcu_read_unlock"]);
    expect(cpu.events[0]!.fields).toMatchObject({
      old_spte: ofPage(reference.logged, 3),
      new_spte: ofPage(reference.demand, 3),
      fixed: true,
      spurious: false,
    });
  });

  it("does not make a read-only host page writable", () => {
    const guest = new Guest(reference.init);
    guest.host.writable = false;
    guest.fault(3, false);
    expect(fast(guest, 3, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(guest.spte(3)).toBe(ofPage(reference.hostReadOnly, 3));
  });

  it("does not make a write-tracked page writable", () => {
    const guest = new Guest(reference.init);
    trackWrites(guest, 3);
    guest.faultWithCode(3, READ);
    expect(fast(guest, 3, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(guest.spte(3)).toBe(ofPage(reference.writeProtected, 3));
  });

  it("gives W back to a huge page, unless its slot is logged", () => {
    const guest = new Guest({ ...reference.init, options: { eagerPageSplit: false } });
    guest.host.level = 2;
    guest.fault(700, true);
    const protect = (): boolean => kvmTdpMmuWrprotSlot(guest.mmu, guest.cpu, guest.slot, 2);
    underReadLock(guest, guest.cpu, protect);
    expect(fast(guest, 700, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(guest.spte(700)).toBe(ofPage(reference.huge, 512));
    guest.setSlot(1);
    const before = guest.spte(700);
    expect(before & 2n).toBe(0n);
    expect(fast(guest, 700, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(guest.spte(700)).toBe(before);
    expect(dirtyBit(guest, 700)).toBe(false);
  });

  it("is traced whenever it was tried, with the outcome", () => {
    const guest = new Guest(reference.init);
    const cpu = new RecordingCpu(guest.cpu);
    fast(guest, 3, PRESENT | WRITE, cpu);
    expect(cpu.eventNames()).toEqual(["fast_page_fault"]);
    expect(cpu.events[0]!.fields).toMatchObject({ fixed: false, spurious: false });
    fast(guest, 3, PRESENT | READ, cpu);
    expect(cpu.eventNames()).toEqual(["fast_page_fault"]);
  });
});

describe.each(WITHOUT_AD)("an access-tracked page, $name", (reference) => {
  function tracked(): Guest {
    const guest = loggedGuest(reference.init);
    age(guest, 3, 4);
    expect(guest.spte(3) & 7n).toBe(0n);
    return guest;
  }

  it("gets its read and execute permission and A back by a read, and is not logged", () => {
    const guest = tracked();
    expect(fast(guest, 3, READ)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.restoredByRead!, 3));
    expect(dirtyBit(guest, 3)).toBe(false);
  });

  it("gets W as well by a write, and is logged", () => {
    const guest = tracked();
    expect(fast(guest, 3, WRITE)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(dirtyBit(guest, 3)).toBe(true);
  });

  it("gets it all back by a fetch", () => {
    const guest = tracked();
    expect(fast(guest, 3, FETCH)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.restoredByRead!, 3));
  });

  it("stays tracked if the write it faulted with is not allowed", () => {
    const guest = new Guest(reference.init);
    guest.host.writable = false;
    guest.fault(3, false);
    age(guest, 3, 4);
    const before = guest.spte(3);
    expect(fast(guest, 3, WRITE)).toBe(RetPf.invalid);
    expect(guest.spte(3)).toBe(before);
    expect(fast(guest, 3, READ)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.hostReadOnly, 3));
  });

  it("restored by another vCPU first: spurious", () => {
    const guest = tracked();
    const act = (): void => void fast(guest, 3, READ);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptepAt(guest, 3, 1), act }]);
    expect(fast(guest, 3, READ, cpu)).toBe(RetPf.spurious);
    expect(pfFast(guest)).toBe(2);
  });

  it("restored for reading by another vCPU while this one writes: the second attempt sets W", () => {
    const guest = tracked();
    const act = (): void => void fast(guest, 3, READ);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address: sptepAt(guest, 3, 1), act }]);
    expect(fast(guest, 3, WRITE, cpu)).toBe(RetPf.fixed);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });
});

describe.each(WITH_AD)("a lost race, $name", (reference) => {
  it("against a zap: the entry stays empty and nothing is logged", () => {
    const guest = loggedGuest(reference.init);
    const address = sptepAt(guest, 3, 1);
    const act = (): void => guest.cpu.writeOnce(address, NOT_PRESENT);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
    expect(fast(guest, 3, PRESENT | WRITE, cpu)).toBe(RetPf.invalid);
    expect(guest.spte(3)).toBe(NOT_PRESENT);
    expect(dirtyBit(guest, 3)).toBe(false);
  });

  it("against write protection for page tables: W is not given back", () => {
    const guest = loggedGuest(reference.init);
    const address = sptepAt(guest, 3, 1);
    const act = (): void => guest.cpu.writeOnce(address, ofPage(reference.writeProtected, 3));
    const cpu = new InterferingCpu(guest.cpu, [{ step: "cmpxchg", address, act }]);
    expect(fast(guest, 3, PRESENT | WRITE, cpu)).toBe(RetPf.invalid);
    expect(guest.spte(3)).toBe(ofPage(reference.writeProtected, 3));
  });

  it.each([
    [4, RetPf.fixed],
    [5, RetPf.invalid],
  ])("%i times against hardware that sets and clears A", (times, expected) => {
    const guest = loggedGuest(reference.init);
    const address = sptepAt(guest, 3, 1);
    const act = (): void => guest.cpu.writeOnce(address, guest.cpu.readOnce(address) ^ reference.accessedBit);
    const races = Array.from(
      { length: times },
      (_, index) => ({ step: "cmpxchg", address, act, nth: index + 1 }) as const,
    );
    const sixth = { step: "cmpxchg", address, act, nth: 6 } as const;
    const cpu = new InterferingCpu(guest.cpu, [...races, sixth]);
    expect(fast(guest, 3, PRESENT | WRITE, cpu)).toBe(expected);
    expect(cpu.happened).toBe(times);
  });

  it("against the removal of the table: the snapshot was no leaf", () => {
    const guest = loggedGuest(reference.init);
    const address = sptepAt(guest, 3, 2);
    const act = (): void => guest.cpu.writeOnce(address, NOT_PRESENT);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "readOnce", address, nth: 2, act }]);
    expect(fast(guest, 3, PRESENT | WRITE, cpu)).toBe(RetPf.invalid);
    expect(cpu.happened).toBe(1);
  });
});
