import type { Gfn } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMayHaveShadowMmuSptes } from "../../src/aging/kvm-may-have-shadow-mmu-sptes.js";
import { kvmRmapAgeGfnRange } from "../../src/aging/kvm-rmap-age-gfn-range.js";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "../../src/aging/kvm-shadow-age-gfn.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import { LeafGuest, SLOT_GFN } from "./kit/leaf-guest.js";
import { EVERY_FORMAT, ofPage } from "./kit/reference-values.js";

describe.each(EVERY_FORMAT)("aging, $name", (reference) => {
  it("reports a used page once, and takes nothing but its accessed state", () => {
    const guest = new LeafGuest(reference.init);
    guest.touch(3, true);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    expect(guest.age(3, 4)).toBe(true);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
    expect(guest.age(3, 4)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.aged, 3));
    guest.expectSound();
  });

  it("does not report what is empty or outside every slot", () => {
    const guest = new LeafGuest(reference.init);
    expect(guest.age(0, 2048)).toBe(false);
    guest.faultWithCode(2048, 0);
    expect(guest.age(0, 2048)).toBe(false);
  });

  it("keeps to its range, down to the page", () => {
    const guest = new LeafGuest(reference.init);
    const pages = [509, 510, 511, 512, 513, 514];
    for (const page of pages) guest.touch(page, true);
    expect(guest.age(510, 514)).toBe(true);
    const aged = pages.filter((page) => guest.spte(page) === ofPage(reference.aged, page));
    expect(aged).toEqual([510, 511, 512, 513]);
    expect(guest.age(510, 514)).toBe(false);
    expect(guest.age(509, 515)).toBe(true);
  });

  it("ages a huge page as a whole if the range begins in it", () => {
    const guest = new LeafGuest(reference.init);
    guest.host.level = 2;
    guest.touch(700, true);
    expect(guest.leaves()).toEqual([0, 1, 0]);
    expect(guest.age(0, 512)).toBe(false);
    expect(guest.age(1024, 2048)).toBe(false);
    expect(guest.age(1023, 1024)).toBe(true);
    expect(guest.age(512, 1024)).toBe(false);
    guest.expectSound();
  });

  it("leaves the other address space alone", () => {
    const guest = new LeafGuest(reference.init);
    guest.touch(3, true);
    guest.setPages(1 << 16, SLOT_GFN, 16, 0);
    const slot = guest.memslots.gfnToMemslot(guest.cpu, 1, SLOT_GFN);
    const range = { ...guest.range(0, 16), slot, start: SLOT_GFN, end: (SLOT_GFN + 16) as Gfn };
    expect(kvmRmapAgeGfnRange(guest.mmu, guest.cpu, range, false)).toBe(false);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
  });

  it("takes no lock but the bit of lists that have entries, flushes nothing, gives way to nobody", () => {
    const guest = new LeafGuest(reference.init);
    for (const page of [3, 4, 600]) guest.touch(page, true);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    guest.age(0, 2048, cpu);
    guest.testAge(0, 2048, cpu);
    const off = cpu.only("preempt_disable").length;
    expect(off).toBe(2 * (2048 + 4 + 1));
    expect(cpu.only("preempt_enable")).toHaveLength(off);
    const others = cpu.log.filter((step) => !step.startsWith("preempt"));
    const section = ["srcu_read_lock kvm->srcu", "srcu_read_unlock kvm->srcu"];
    expect(others).toEqual([...section, ...section]);
    guest.expectSound();
  });
});

describe.each(EVERY_FORMAT)("testing, $name", (reference) => {
  it("changes nothing, and writes to nothing but the bit", () => {
    const guest = new LeafGuest(reference.init);
    guest.touch(3, true);
    const cpu = new RecordingCpu(guest.cpu);
    expect(guest.testAge(3, 4, cpu)).toBe(true);
    expect(guest.testAge(4, 5, cpu)).toBe(false);
    expect(cpu.writesTo(guest.sptep(3))).toEqual([]);
    expect(guest.spte(3)).toBe(ofPage(reference.demand, 3));
    guest.expectSound();
  });

  it("stops at the first page that was used", () => {
    const guest = new LeafGuest(reference.init);
    for (const page of [3, 5, 7]) guest.touch(page, true);
    guest.age(3, 4);
    const reads: number[] = [];
    const watch = (page: number) =>
      ({ step: "readOnce", address: guest.sptep(page), act: () => reads.push(page) }) as const;
    const cpu = new InterferingCpu(guest.cpu, [3, 5, 7].map(watch));
    expect(guest.testAge(0, 2048, cpu)).toBe(true);
    expect(reads).toEqual([3, 5]);
  });
});

describe("huge pages and a range that is not aligned", () => {
  const make = (aging: "lockless" | "mmu-lock-write"): LeafGuest => {
    const guest = new LeafGuest({ options: { aging } });
    guest.host.level = 2;
    for (const page of [0, 512]) guest.touch(page, true);
    expect(guest.leaves()).toEqual([0, 2, 0]);
    return guest;
  };
  const young = (guest: LeafGuest, page: number): boolean => (guest.spte(page) & 0x100n) !== 0n;

  it("[300, 600): the lockless form visits frame 0 and misses frame 1 (hazard D2)", () => {
    const guest = make("lockless");
    expect(guest.age(300, 600)).toBe(true);
    expect([young(guest, 0), young(guest, 512)]).toEqual([false, true]);
    expect(guest.age(300, 600)).toBe(false);
    expect(guest.testAge(300, 600)).toBe(false);
    expect(guest.testAge(512, 600)).toBe(true);
  });

  it("[300, 600): the locked form visits both", () => {
    const guest = make("mmu-lock-write");
    expect(guest.age(300, 600)).toBe(true);
    expect([young(guest, 0), young(guest, 512)]).toEqual([false, false]);
  });

  it("[300, 813): the step from 300 to 812 reaches frame 1", () => {
    const guest = make("lockless");
    expect(guest.age(300, 813)).toBe(true);
    expect([young(guest, 0), young(guest, 512)]).toEqual([false, false]);
  });

  it("a slot that begins in the middle of a huge frame has one list for its part", () => {
    const guest = new LeafGuest({ slotGfn: SLOT_GFN + 0x100, slotPages: 1024 });
    guest.host.level = 2;
    guest.touch(0x100, true);
    guest.touch(0, true);
    expect(guest.leaves()).toEqual([1, 1, 0]);
    expect(guest.age(0x100, 0x101)).toBe(true);
    expect(guest.age(0, 0x100)).toBe(true);
    expect(guest.age(0, 1024)).toBe(false);
  });
});

describe("the gate", () => {
  it("lets aging through where the TDP MMU is off", () => {
    const guest = new LeafGuest();
    expect(guest.cpu.readOnce32(guest.mmu.indirectShadowPagesWord)).toBe(0);
    expect(kvmMayHaveShadowMmuSptes(guest.mmu, guest.cpu)).toBe(true);
  });

  it("with the TDP MMU asks for indirect shadow pages, by a plain read, and touches no rmap without any", () => {
    const guest = new LeafGuest({ tdpMmuEnabled: true });
    const cpu = new RecordingCpu(guest.cpu);
    expect(kvmShadowAgeGfn(guest.mmu, cpu, guest.range(0, 2048))).toBe(false);
    expect(cpu.log).toEqual([]);
    guest.cpu.writeOnce32(guest.mmu.indirectShadowPagesWord, 1);
    expect(kvmMayHaveShadowMmuSptes(guest.mmu, guest.cpu)).toBe(true);
    guest.cpu.writeOnce32(guest.mmu.indirectShadowPagesWord, 0);
  });
});

describe("aging a slot that was replaced before the VM's first shadow root", () => {
  it.each(["lockless", "mmu-lock-write"] as const)(
    "finds no lists in it, and nothing to age: %s",
    (aging) => {
      const guest = new ShadowGuest({ mode: "ept", tdpMmuEnabled: true, options: { aging } });
      const { mmu, cpu, memslots } = guest;
      const slot = memslots.gfnToMemslot(cpu, 0, 0 as Gfn);
      const range = { slot, start: 0 as Gfn, end: 16 as Gfn, mayBlock: false, lockless: true, attrFilter: 1 };
      // Somebody else's shadow root gave lists to the slots of the active sets, of which this one is no more.
      cpu.writeOnce32(mmu.indirectShadowPagesWord, 1);
      if (aging === "mmu-lock-write") cpu.writeLock(mmu.mmuLock);
      expect(kvmShadowAgeGfn(mmu, cpu, range)).toBe(false);
      expect(kvmShadowTestAgeGfn(mmu, cpu, range)).toBe(false);
      if (aging === "mmu-lock-write") cpu.writeUnlock(mmu.mmuLock);
      cpu.writeOnce32(mmu.indirectShadowPagesWord, 0);
    },
  );
});
