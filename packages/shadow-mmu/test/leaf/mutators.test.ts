import type { Address } from "@kvm-age/machine";
import {
  baseVolatileRule,
  mergedVolatileRule,
  SHADOW_NONPRESENT_VALUE,
  type Spte,
  type VolatileRule,
  v9VolatileRule,
} from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { ShadowPageCorruptionError } from "../../src/errors.js";
import { mmuSpteClearNoTrack } from "../../src/spte/mmu-spte-clear-no-track.js";
import { mmuSpteClearTrackBits } from "../../src/spte/mmu-spte-clear-track-bits.js";
import { mmuSpteSet } from "../../src/spte/mmu-spte-set.js";
import { mmuSpteUpdate } from "../../src/spte/mmu-spte-update.js";
import { spteWriteProtect } from "../../src/spte/spte-write-protect.js";
import { LeafGuest } from "./kit/leaf-guest.js";
import { FORMATS, ofPage, type ReferenceFormat, withPfn } from "./kit/reference-values.js";

const PAGE = 3;
const W = 2n;

interface Stage {
  readonly guest: LeafGuest;
  readonly sptep: Address;
  readonly cpu: RecordingCpu;
}

/** A mapped page whose entry holds `value`. */
function stage(reference: ReferenceFormat, value: bigint, volatileRule?: VolatileRule): Stage {
  const options = volatileRule === undefined ? {} : { volatileRule };
  const guest = new LeafGuest({ ...reference.init, options });
  guest.touch(PAGE, true);
  const sptep = guest.sptep(PAGE);
  guest.cpu.writeOnce(sptep, value);
  return { guest, sptep, cpu: new RecordingCpu(guest.cpu) };
}

const at = (reference: bigint): Spte => ofPage(reference, PAGE);

/** States of an entry, and by which step a holder of the lock may overwrite them, rule by rule. */
interface VolatileCase {
  readonly name: string;
  readonly value: (reference: ReferenceFormat) => bigint;
  readonly expected: (reference: ReferenceFormat, rule: VolatileRule) => "writeOnce" | "xchg";
}

const CASES: readonly VolatileCase[] = [
  {
    name: "writable, dirty, accessed",
    value: (reference) => at(reference.demand),
    expected: (reference, rule) => (!reference.adBits && rule === mergedVolatileRule ? "xchg" : "writeOnce"),
  },
  {
    name: "writable and clean: hardware may set D",
    value: (reference) => at(reference.demand) & ~reference.dirtyBit,
    expected: (reference, rule) => (reference.adBits || rule === mergedVolatileRule ? "xchg" : "writeOnce"),
  },
  {
    name: "write-protected for the log: a fast fault may set W",
    value: (reference) => at(reference.logged),
    expected: () => "xchg",
  },
  {
    name: "old: hardware may set A, which only the base rule keeps",
    value: (reference) => at(reference.demand) & ~reference.accessedBit,
    expected: (reference, rule) => {
      if (!reference.adBits) return rule === mergedVolatileRule ? "xchg" : "writeOnce";
      return rule === baseVolatileRule ? "xchg" : "writeOnce";
    },
  },
  {
    name: "access-tracked: a fast fault may restore it",
    value: (reference) => at(reference.aged),
    expected: (reference, rule) => (!reference.adBits || rule === baseVolatileRule ? "xchg" : "writeOnce"),
  },
  {
    name: "read-only for good",
    value: (reference) => at(reference.writeProtected),
    expected: (reference, rule) => (!reference.adBits && rule === mergedVolatileRule ? "xchg" : "writeOnce"),
  },
];

const RULES = [mergedVolatileRule, v9VolatileRule, baseVolatileRule];
const GRID = FORMATS.flatMap((reference) => RULES.map((rule) => ({ reference, rule })));

describe.each(GRID)("the step over an entry, $reference.name, rule $rule.name", ({ reference, rule }) => {
  it.each(CASES)("$name", ({ value, expected }) => {
    const entry = value(reference);
    const updated = stage(reference, entry, rule);
    const target = (entry & ~W & ~reference.mmuWritableBit) as Spte;
    mmuSpteUpdate(updated.guest.mmu, updated.cpu, updated.sptep, target);
    expect(updated.cpu.writesTo(updated.sptep)).toEqual([expected(reference, rule)]);
    expect(updated.guest.cpu.readOnce(updated.sptep)).toBe(target);

    const dropped = stage(reference, entry, rule);
    expect(mmuSpteClearTrackBits(dropped.guest.mmu, dropped.cpu, dropped.sptep)).toBe(entry);
    expect(dropped.cpu.writesTo(dropped.sptep)).toEqual([expected(reference, rule)]);
    expect(dropped.guest.cpu.readOnce(dropped.sptep)).toBe(SHADOW_NONPRESENT_VALUE);
  });
});

describe.each(FORMATS)("mmu_spte_set, $name", (reference) => {
  it("fills an entry that is not present, by a plain store", () => {
    const { guest, sptep, cpu } = stage(reference, SHADOW_NONPRESENT_VALUE);
    mmuSpteSet(guest.mmu, cpu, sptep, at(reference.demand));
    expect(cpu.writesTo(sptep)).toEqual(["writeOnce"]);
    expect(guest.cpu.readOnce(sptep)).toBe(at(reference.demand));
  });

  it("refuses an entry that is present", () => {
    const { guest, sptep, cpu } = stage(reference, at(reference.demand));
    expect(() => mmuSpteSet(guest.mmu, cpu, sptep, at(reference.demand))).toThrow(/present entry was set/);
    expect(cpu.writesTo(sptep)).toEqual([]);
  });
});

describe.each(FORMATS)("mmu_spte_update, $name", (reference) => {
  it("fills an entry that is not present without asking for a flush", () => {
    const { guest, sptep, cpu } = stage(reference, SHADOW_NONPRESENT_VALUE);
    expect(mmuSpteUpdate(guest.mmu, cpu, sptep, at(reference.demand))).toBe(false);
    expect(guest.cpu.readOnce(sptep)).toBe(at(reference.demand));
  });

  it("asks for a flush if, and only if, MMU-writable goes", () => {
    const change = (from: bigint, to: bigint): boolean => {
      const { guest, sptep, cpu } = stage(reference, from);
      return mmuSpteUpdate(guest.mmu, cpu, sptep, to as Spte);
    };
    const { demand, logged, aged, writeProtected } = reference;
    expect(change(at(demand), at(writeProtected))).toBe(true);
    expect(change(at(logged), at(writeProtected))).toBe(true);
    expect(change(at(aged), at(writeProtected))).toBe(true);
    expect(change(at(demand), at(logged))).toBe(false);
    expect(change(at(demand), at(aged))).toBe(false);
    expect(change(at(logged), at(demand))).toBe(false);
    expect(change(at(writeProtected), at(demand))).toBe(false);
  });

  it("decides on the value that it replaced, not on what it saw before", () => {
    // Writable and clean, so that it is exchanged; without MMU-writable, which no real entry is, so that the two differ.
    const seen = at(reference.demand) & ~reference.dirtyBit & ~reference.mmuWritableBit;
    const { guest, sptep } = stage(reference, seen);
    const act = (): void => guest.cpu.writeOnce(sptep, at(reference.demand));
    const cpu = new InterferingCpu(guest.cpu, [{ step: "xchg", address: sptep, act }]);
    expect(mmuSpteUpdate(guest.mmu, cpu, sptep, at(reference.writeProtected))).toBe(true);
    expect(cpu.happened).toBe(1);
  });

  it.each([
    ["a value that is not present", SHADOW_NONPRESENT_VALUE, /not present/],
    ["another page", null, /changed the page/],
  ])("refuses %s", (_name, value, message) => {
    const { guest, sptep, cpu } = stage(reference, at(reference.demand));
    const target = (value ?? withPfn(reference.demand, 0x777777)) as Spte;
    expect(() => mmuSpteUpdate(guest.mmu, cpu, sptep, target)).toThrow(message);
  });

  it("refuses W without MMU-writable", () => {
    const { guest, sptep, cpu } = stage(reference, at(reference.demand));
    const target = (at(reference.demand) & ~reference.mmuWritableBit) as Spte;
    expect(() => mmuSpteUpdate(guest.mmu, cpu, sptep, target)).toThrow(ShadowPageCorruptionError);
    expect(guest.cpu.readOnce(sptep)).toBe(at(reference.demand));
  });
});

describe.each(FORMATS)("mmu_spte_clear_track_bits, $name", (reference) => {
  it("returns the exact value and counts the leaf off", () => {
    const { guest, sptep } = stage(reference, at(reference.logged));
    const act = (): void => guest.cpu.writeOnce(sptep, at(reference.demand));
    const cpu = new InterferingCpu(guest.cpu, [{ step: "xchg", address: sptep, act }]);
    expect(mmuSpteClearTrackBits(guest.mmu, cpu, sptep)).toBe(at(reference.demand));
    expect(cpu.happened).toBe(1);
    expect(guest.leaves()).toEqual([0, 0, 0]);
  });

  it("counts nothing for an entry that is not present", () => {
    const { guest, sptep, cpu } = stage(reference, SHADOW_NONPRESENT_VALUE);
    expect(mmuSpteClearTrackBits(guest.mmu, cpu, sptep)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(cpu.writesTo(sptep)).toEqual(["writeOnce"]);
    expect(guest.leaves()).toEqual([1, 0, 0]);
  });
});

describe.each(FORMATS)("other mutators, $name", (reference) => {
  it("mmu_spte_clear_no_track is a plain store and counts nothing", () => {
    const { guest, sptep, cpu } = stage(reference, at(reference.demand));
    mmuSpteClearNoTrack(guest.mmu, cpu, sptep);
    expect(cpu.writesTo(sptep)).toEqual(["writeOnce"]);
    expect(guest.cpu.readOnce(sptep)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(guest.leaves()).toEqual([1, 0, 0]);
  });

  it("spte_write_protect for the log takes W and keeps MMU-writable; nothing to do without W", () => {
    const { guest, sptep, cpu } = stage(reference, at(reference.demand));
    expect(spteWriteProtect(guest.mmu, cpu, sptep, false)).toBe(false);
    expect(guest.cpu.readOnce(sptep)).toBe(at(reference.logged));
    const before = cpu.writes().length;
    expect(spteWriteProtect(guest.mmu, cpu, sptep, false)).toBe(false);
    expect(cpu.writes()).toHaveLength(before);
  });

  it("spte_write_protect for good takes MMU-writable too, also of an entry without W, and asks for a flush", () => {
    for (const value of [reference.demand, reference.logged, reference.aged]) {
      const { guest, sptep, cpu } = stage(reference, at(value));
      expect(spteWriteProtect(guest.mmu, cpu, sptep, true)).toBe(true);
      const left = guest.cpu.readOnce(sptep);
      expect(left).toBe(at(value) & ~W & ~reference.mmuWritableBit);
      expect(spteWriteProtect(guest.mmu, cpu, sptep, true)).toBe(false);
    }
  });
});
