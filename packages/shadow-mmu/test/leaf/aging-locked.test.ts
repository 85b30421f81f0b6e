import { LockAssertionError, type LockdepCpu } from "@kvm-age/machine";
import { baseVolatileRule, mergedVolatileRule, type VolatileRule, v9VolatileRule } from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "../../src/aging/kvm-shadow-age-gfn.js";
import { ShadowPageCorruptionError } from "../../src/errors.js";
import { LeafGuest } from "./kit/leaf-guest.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

function make(reference: ReferenceFormat, volatileRule: VolatileRule = baseVolatileRule): LeafGuest {
  return new LeafGuest({ ...reference.init, options: { aging: "mmu-lock-write", volatileRule } });
}

describe.each(EVERY_FORMAT)("aging under mmu_lock, $name", (reference) => {
  it("has the same effect and the same answers", () => {
    const guest = make(reference);
    guest.touch(3, true);
    expect(guest.testAge(3, 4)).toBe(true);
    expect(guest.age(3, 4)).toBe(true);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
    expect([guest.testAge(3, 4), guest.age(3, 4)]).toEqual([false, false]);
    guest.expectSound();
  });

  it("asserts that the lock is held for write", () => {
    const guest = make(reference);
    guest.touch(3, true);
    expect(() => kvmShadowAgeGfn(guest.mmu, guest.cpu, guest.range(3, 4))).toThrow(LockAssertionError);
    expect(() => kvmShadowTestAgeGfn(guest.mmu, guest.cpu, guest.range(3, 4))).toThrow(LockAssertionError);
    (guest.cpu as LockdepCpu).lockdep.assertNothingHeld();
  });

  it("flushes nothing and takes no list bit", () => {
    const guest = make(reference);
    for (const page of [3, 4, 600]) guest.touch(page, true);
    const cpu = new RecordingCpu(guest.cpu);
    guest.age(0, 2048, cpu);
    expect(cpu.log).toEqual([
      "srcu_read_lock kvm->srcu",
      "write_lock kvm->mmu_lock",
      "write_unlock kvm->mmu_lock",
      "srcu_read_unlock kvm->srcu",
    ]);
    expect([...new Set(cpu.writes().map(({ address }) => address))].sort()).toEqual(
      [3, 4, 600].map((page) => guest.sptep(page)).sort(),
    );
  });

  it("refuses an entry of an rmap that is not present", () => {
    const guest = make(reference);
    guest.touch(3, true);
    guest.cpu.writeOnce(guest.sptep(3), 1n << 63n);
    expect(() => guest.age(3, 4)).toThrow(ShadowPageCorruptionError);
  });
});

describe("the step that ages an entry", () => {
  const byName = (name: string): ReferenceFormat =>
    EVERY_FORMAT.find((reference) => reference.name === name)!;

  const stepFor = (name: string, rule: VolatileRule): string[] => {
    const guest = make(byName(name), rule);
    guest.touch(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    guest.age(3, 4, cpu);
    return cpu.writesTo(guest.sptep(3));
  };

  it.each([baseVolatileRule, v9VolatileRule, mergedVolatileRule])(
    "AND with hardware A/D, rule $name",
    (rule) => {
      expect(stepFor("7.3 EPT", rule)).toEqual(["fetchAnd"]);
      expect(stepFor("7.3 NPT", rule)).toEqual(["fetchAnd"]);
    },
  );

  it("a plain store without hardware A/D before the merged rule, an exchange after", () => {
    expect(stepFor("7.3 EPT without A/D bits", baseVolatileRule)).toEqual(["writeOnce"]);
    expect(stepFor("7.3 EPT without A/D bits", v9VolatileRule)).toEqual(["writeOnce"]);
    expect(stepFor("7.3 EPT without A/D bits", mergedVolatileRule)).toEqual(["xchg"]);
  });
});
