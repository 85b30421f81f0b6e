import { LockAssertionError, LockGraph, withLockdep } from "@kvm-age/machine";
import { baseVolatileRule, mergedVolatileRule, type VolatileRule } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu, type StepKind } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmTdpMmuAgeGfnRange, kvmTdpMmuTestAgeGfn } from "../src/index.js";
import { Guest } from "./kit/guest.js";
import { age, spteChanges, sptepAt, testAge } from "./kit/operations.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

function make(reference: ReferenceFormat, volatileRule: VolatileRule = baseVolatileRule): Guest {
  return new Guest({ ...reference.init, options: { aging: "mmu-lock-write", volatileRule } });
}

describe.each(EVERY_FORMAT)("aging under mmu_lock, $name", (reference) => {
  it("has the same effect and the same answers", () => {
    const guest = make(reference);
    guest.fault(3, true);
    expect(testAge(guest, 3, 4)).toBe(true);
    expect(age(guest, 3, 4)).toBe(true);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
    expect([testAge(guest, 3, 4), age(guest, 3, 4)]).toEqual([false, false]);
  });

  it("asserts that the lock is held for write", () => {
    const guest = make(reference);
    guest.fault(3, true);
    const cpu = withLockdep(new LockGraph())(guest.cpu);
    expect(() => kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(3, 4))).toThrow(LockAssertionError);
    expect(() => kvmTdpMmuTestAgeGfn(guest.mmu, cpu, guest.range(3, 4))).toThrow(LockAssertionError);
    cpu.writeLock(guest.mmu.mmuLock);
    expect(kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(3, 4))).toBe(true);
    cpu.writeUnlock(guest.mmu.mmuLock);
  });

  it("emits an event for each entry", () => {
    const guest = make(reference);
    guest.fault(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    age(guest, 0, 2048, cpu);
    expect(spteChanges(cpu).map(({ old_spte, new_spte }) => [old_spte, new_spte])).toEqual([
      [ofPage(reference.demand, 3), ofPage(reference.aged, 3)],
    ]);
  });
});

/** The primitive that ages page 3 if it holds `value` at that time. */
function primitive(reference: ReferenceFormat, rule: VolatileRule, value: bigint): StepKind[] {
  const guest = make(reference, rule);
  guest.fault(3, true);
  const address = sptepAt(guest, 3, 1);
  guest.cpu.writeOnce(address, value);
  const used: StepKind[] = [];
  const steps: StepKind[] = ["writeOnce", "xchg", "fetchAnd", "cmpxchg"];
  const cpu = new InterferingCpu(
    guest.cpu,
    steps.map((step) => ({ step, address, act: () => used.push(step) })),
  );
  age(guest, 3, 4, cpu);
  return used;
}

describe.each(EVERY_FORMAT)("the write that ages under mmu_lock, $name", (reference) => {
  const young = ofPage(reference.demand, 3);

  it("is a plain store where the rule sees nothing to lose", () => {
    expect(primitive(reference, baseVolatileRule, young)).toEqual(["writeOnce"]);
    const merged = reference.adBits ? "writeOnce" : "xchg";
    expect(primitive(reference, mergedVolatileRule, young)).toEqual([merged]);
  });

  it("is atomic where hardware may set D or a fast fault may set W", () => {
    const atomic = reference.adBits ? "fetchAnd" : "xchg";
    expect(primitive(reference, baseVolatileRule, ofPage(reference.logged, 3))).toEqual([atomic]);
    const clean = young & ~reference.dirtyBit;
    expect(primitive(reference, mergedVolatileRule, clean)).toEqual([atomic]);
  });
});

it("D set by hardware between look and write survives, since a clean writable entry is volatile", () => {
  const reference = EVERY_FORMAT[0]!;
  const guest = make(reference);
  guest.fault(3, true);
  const address = sptepAt(guest, 3, 1);
  guest.cpu.fetchAnd(address, ~reference.dirtyBit & 0xffffffffffffffffn, "full");
  const act = (): void => void guest.cpu.fetchOr(address, reference.dirtyBit, "full");
  age(guest, 3, 4, new InterferingCpu(guest.cpu, [{ step: "fetchAnd", address, act }]));
  expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
});
