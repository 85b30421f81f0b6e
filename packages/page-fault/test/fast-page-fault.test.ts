import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES } from "@kvm-age/memslot";
import {
  isAccessedSpte,
  isAccessTrackSpte,
  isWritablePte,
  markSpteForAccessTrack,
  PFERR_FETCH_MASK,
  PFERR_PRESENT_MASK,
  PFERR_WRITE_MASK,
  type SpteFormat,
} from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { fastPageFault, KvmPageFault, PFERR_RSVD_MASK, pageFaultCanBeFast, RetPf } from "../src/index.js";
import { FORMATS, WITH_AD, WITHOUT_AD } from "./kit/formats.js";
import { OneEntryWalk } from "./kit/one-entry-walk.js";
import { Rig } from "./kit/rig.js";

const READ = 0;
const WRITE = PFERR_WRITE_MASK;
const PRESENT = PFERR_PRESENT_MASK;
const FETCH = PFERR_FETCH_MASK;
const PAGE = 3;
const VCPU = 7;
const W = 2n;
const ZAPPED = 1n << 63n;

function fast(rig: Rig, code: number, cpu: Cpu = rig.cpu): RetPf {
  return fastPageFault(rig, cpu, VCPU, rig.fault(PAGE, code), rig.walk);
}

/** The same on a processor that is overtaken in front of its first `times` compare-exchanges. */
function overtaken(
  rig: Rig,
  code: number,
  act: () => void,
  times = 1,
): { result: RetPf; exchanges: number; happened: number } {
  const interferences = Array.from(
    { length: times },
    (_, index) => ({ step: "cmpxchg", nth: index + 1, act }) as const,
  );
  const interfering = new InterferingCpu(rig.cpu, interferences);
  const cpu = new RecordingCpu(interfering, interfering.tracing);
  const result = fast(rig, code, cpu);
  const exchanges = cpu.steps.filter(({ kind }) => kind === "cmpxchg").length;
  return { result, exchanges, happened: interfering.happened };
}

function pfFast(rig: Rig): number {
  return rig.statistics.read(rig.cpu).pf_fast;
}

/** A rig in a logged slot whose entry lost W to the log, as if just armed. */
function loggedRig(format: SpteFormat): Rig {
  const rig = new Rig({ format });
  rig.spte = rig.leaf(PAGE).spte & ~W;
  rig.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
  return rig;
}

describe.each(FORMATS)("eligible faults, $name", ({ format }) => {
  const rig = new Rig({ format });
  const notPresent = !format.kvmAdEnabled;
  it.each([
    ["write to a present page", PRESENT | WRITE, true],
    ["read of a present page", PRESENT, false],
    ["fetch from a present page", PRESENT | FETCH, false],
    ["read of a page that is not present", READ, notPresent],
    ["write to a page that is not present", WRITE, notPresent],
    ["fetch from a page that is not present", FETCH, notPresent],
    ["reserved bit, write", PRESENT | WRITE | PFERR_RSVD_MASK, false],
    ["reserved bit, not present", WRITE | PFERR_RSVD_MASK, false],
  ])("%s", (_name, code, expected) => {
    expect(pageFaultCanBeFast(rig, new KvmPageFault(0, code, false))).toBe(expected);
  });
});

describe.each(FORMATS)("a fast page fault, $name", ({ format }) => {
  it("that cannot be fast begins no walk and emits nothing", () => {
    const rig = new Rig({ format });
    expect(fast(rig, PRESENT | READ, rig.tracingCpu())).toBe(RetPf.invalid);
    expect([rig.walk.log, rig.events]).toEqual([[], []]);
  });

  it.each([
    ["a zapped entry", (): bigint => ZAPPED],
    ["a frozen entry", (): bigint => format.frozenSpte],
    ["a table", (rig: Rig): bigint => rig.leaf(PAGE).spte],
  ])("leaves %s to the slow path", (name, value) => {
    const rig = new Rig({ format });
    rig.spte = value(rig);
    if (name === "a table") rig.walk.level = 2;
    const before = rig.spte;
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(rig.spte).toBe(before);
    expect(rig.walk.log).toEqual(["begin", "look", "end"]);
    expect(pfFast(rig)).toBe(0);
  });

  it("leaves tables without an entry to the slow path", () => {
    const rig = new Rig({ format });
    const walk = new OneEntryWalk(format, NULL_ADDRESS);
    const fault = rig.fault(PAGE, PRESENT | WRITE);
    expect(fastPageFault(rig, rig.tracingCpu(), VCPU, fault, walk)).toBe(RetPf.invalid);
    expect(rig.events).toMatchObject([
      { name: "fast_page_fault", fields: { sptep: 0n, old_spte: format.frozenSpte, new_spte: 0n } },
    ]);
  });

  it("is spurious if the entry allows the access", () => {
    const rig = new Rig({ format });
    rig.spte = rig.leaf(PAGE).spte;
    expect(fast(rig, PRESENT | WRITE, rig.tracingCpu())).toBe(RetPf.spurious);
    expect(rig.events).toMatchObject([{ fields: { spurious: true, fixed: false } }]);
    expect(pfFast(rig)).toBe(1);
  });

  it("gives W back where the log took it, and logs the page", () => {
    const rig = loggedRig(format);
    const armed = rig.spte;
    expect(fast(rig, PRESENT | WRITE, rig.tracingCpu())).toBe(RetPf.fixed);
    expect(rig.spte).toBe(armed | W);
    expect([rig.isDirty(PAGE), rig.isDirty(PAGE + 1)]).toEqual([true, false]);
    expect(rig.walk.log).toEqual(["begin", "look", "end"]);
    expect(pfFast(rig)).toBe(1);
    expect(rig.events).toEqual([
      {
        name: "fast_page_fault",
        fields: {
          vcpu: VCPU,
          gva: BigInt(rig.fault(PAGE, 0).addr),
          error_code: BigInt(PRESENT | WRITE),
          sptep: BigInt(rig.sptep),
          old_spte: armed,
          new_spte: armed | W,
          spurious: false,
          fixed: true,
        },
      },
    ]);
  });

  it("does not make a host's read-only page writable", () => {
    const rig = new Rig({ format });
    rig.spte = rig.leaf(PAGE, { hostWritable: false }).spte;
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.invalid);
  });

  it("does not make a page writable whose writes are tracked", () => {
    const rig = new Rig({ format });
    rig.spte = rig.leaf(PAGE, {}, { tryToUnsyncPages: () => -1 }).spte;
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.invalid);
  });

  it("gives W back to a huge page, unless its slot is logged", () => {
    const rig = new Rig({ format });
    rig.walk.level = 2;
    const huge = rig.leaf(0, { level: 2 }).spte;
    rig.spte = huge & ~W;
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.fixed);
    expect(rig.spte).toBe(huge);
    rig.spte = huge & ~W;
    rig.setSlot(KVM_MEM_LOG_DIRTY_PAGES);
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.invalid);
    expect(isWritablePte(rig.spte)).toBe(false);
    expect(rig.isDirty(PAGE)).toBe(false);
  });
});

describe.each(WITHOUT_AD)("an access-tracked page, $name", ({ format }) => {
  function tracked(hostWritable: boolean): Rig {
    const rig = new Rig({ format, slotFlags: KVM_MEM_LOG_DIRTY_PAGES });
    rig.spte = markSpteForAccessTrack(format, rig.leaf(PAGE + 1, { hostWritable }).spte);
    expect(isAccessTrackSpte(format, rig.spte)).toBe(true);
    return rig;
  }

  it.each([READ, FETCH])("is restored without W by access %i, and not logged", (code) => {
    const rig = tracked(true);
    expect(fast(rig, code)).toBe(RetPf.fixed);
    expect(isAccessTrackSpte(format, rig.spte)).toBe(false);
    expect([isAccessedSpte(format, rig.spte), isWritablePte(rig.spte)]).toEqual([true, false]);
    expect(rig.isDirty(PAGE)).toBe(false);
  });

  it("gets W as well by a write, and is logged", () => {
    const rig = tracked(true);
    expect(fast(rig, WRITE)).toBe(RetPf.fixed);
    expect([isAccessedSpte(format, rig.spte), isWritablePte(rig.spte)]).toEqual([true, true]);
    expect(rig.isDirty(PAGE)).toBe(true);
  });

  it("stays tracked if it may not be written", () => {
    const rig = tracked(false);
    const before = rig.spte;
    expect(fast(rig, WRITE)).toBe(RetPf.invalid);
    expect(rig.spte).toBe(before);
  });

  it("restored by another processor first is spurious", () => {
    const rig = tracked(true);
    const restore = () => void fast(rig, READ);
    const expected = { result: RetPf.spurious, exchanges: 1, happened: 1 };
    expect(overtaken(rig, READ, restore)).toEqual(expected);
  });
});

describe.each(WITH_AD)("an aged page, $name", ({ format }) => {
  it("is not restored: hardware will set A", () => {
    const rig = new Rig({ format });
    rig.spte = markSpteForAccessTrack(format, rig.leaf(PAGE).spte);
    expect(isAccessedSpte(format, rig.spte)).toBe(false);
    expect(fast(rig, READ)).toBe(RetPf.invalid);
    expect(rig.walk.log).toEqual([]);
    expect(fast(rig, PRESENT | WRITE)).toBe(RetPf.spurious);
    expect(isAccessedSpte(format, rig.spte)).toBe(false);
  });
});

describe.each(FORMATS)("a lost compare-exchange, $name", ({ format }) => {
  /** A bit of the entry that decides nothing. */
  const harmless = format.kvmAdEnabled ? format.shadowAccessedMask : 1n << 62n;

  it.each([
    [1, RetPf.fixed, 2],
    [4, RetPf.fixed, 5],
    [5, RetPf.invalid, 5],
  ])("%i times: every attempt looks anew, and the fifth is the last", (times, expected, looks) => {
    const rig = loggedRig(format);
    const change = () => {
      rig.spte = rig.spte ^ harmless;
    };
    const outcome = { result: expected, exchanges: looks, happened: times };
    expect(overtaken(rig, PRESENT | WRITE, change, times)).toEqual(outcome);
    expect(rig.walk.log).toEqual(["begin", ...Array<string>(looks).fill("look"), "end"]);
    expect(rig.isDirty(PAGE)).toBe(expected === RetPf.fixed);
    expect(pfFast(rig)).toBe(expected === RetPf.fixed ? 1 : 0);
  });

  it("against a zap: nothing is given back", () => {
    const rig = loggedRig(format);
    const zap = () => {
      rig.spte = ZAPPED;
    };
    const expected = { result: RetPf.invalid, exchanges: 1, happened: 1 };
    expect(overtaken(rig, PRESENT | WRITE, zap)).toEqual(expected);
    expect([rig.spte, rig.isDirty(PAGE)]).toEqual([ZAPPED, false]);
  });

  it("against another processor that sets W: spurious, logged once by the winner", () => {
    const rig = loggedRig(format);
    const write = () => void fast(rig, PRESENT | WRITE);
    const expected = { result: RetPf.spurious, exchanges: 1, happened: 1 };
    expect(overtaken(rig, PRESENT | WRITE, write)).toEqual(expected);
    expect(rig.isDirty(PAGE)).toBe(true);
    expect(pfFast(rig)).toBe(2);
  });
});
