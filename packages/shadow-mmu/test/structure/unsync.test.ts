import type { Cpu } from "@kvm-age/machine";
import { kvmWriteTrackAddGfn } from "@kvm-age/memslot";
import { type Gfn, linux73, linux615 } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { spSptep } from "../../src/page/kvm-mmu-page.js";
import { markUnsync } from "../../src/unsync/mark-unsync.js";
import { kvmUnsyncPage, mmuTryToUnsyncPages } from "../../src/unsync/mmu-try-to-unsync-pages.js";
import { mmuUnsyncWalk } from "../../src/unsync/mmu-unsync-walk.js";
import { ShadowTracker } from "../../src/unsync/shadow-tracker.js";
import {
  clearUnsyncChildBit,
  nextUnsyncChild,
  testAndSetUnsyncChildBit,
} from "../../src/unsync/unsync-child-bitmap.js";
import { mmuPageZapPte } from "../../src/zap/kvm-mmu-prepare-zap-page.js";
import { HOST_BASE } from "../guest/kit/byte-host.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  expectSound,
  getPage,
  isUnsync,
  link,
  longModeGuest,
  unsync,
  unsyncChildren,
  zap,
} from "./kit/pages.js";

const gfn = (value: number): Gfn => value as Gfn;

interface How {
  readonly synchronizing?: boolean;
  readonly prefetch?: boolean;
}

/** `mmu_try_to_unsync_pages` as the TDP MMU asks: with `mmu_lock` held for read. */
function ask(guest: ShadowGuest, at: number, how: How = {}, cpu: Cpu = guest.cpu): number {
  const { synchronizing = false, prefetch = false } = how;
  return guest.inSrcu(() => {
    cpu.readLock(guest.mmu.mmuLock);
    const result = new ShadowTracker(guest.mmu).tryToUnsyncPages(
      cpu,
      guest.memslots,
      guest.slot,
      gfn(at),
      synchronizing,
      prefetch,
    );
    cpu.readUnlock(guest.mmu.mmuLock);
    return result;
  }, cpu);
}

describe("mmu_try_to_unsync_pages", () => {
  it("lets a gfn be written that nobody shadows", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    expect(ask(guest, 30, {}, cpu)).toBe(0);
    expect(cpu.only("spin", "smp_wmb")).toEqual(["smp_wmb"]);
  });

  it.each([
    ["linux-7.3", linux73, 0],
    ["linux-6.15", linux615, 1],
  ])("in %s searches the hash for a gfn that may be mapped huge %# times", (_name, ruleSet, looks) => {
    const { guest } = longModeGuest({ ruleSet });
    const cpu = new RecordingCpu(guest.cpu);
    expect(ask(guest, 0x600, {}, cpu)).toBe(0);
    expect(cpu.stepsAt(guest.mmu.pageHashWord)).toEqual(Array(looks).fill("loadAcquire32"));
  });

  it("searches if the other address space forbids huge pages there", () => {
    const { guest } = longModeGuest();
    guest.setRegion(1 << 16, 0, 4096, HOST_BASE, 0);
    getPage(guest, 0x610, { level: 1, smm: 1 });
    const cpu = new RecordingCpu(guest.cpu);
    expect(ask(guest, 0x600, {}, cpu)).toBe(0);
    expect(cpu.stepsAt(guest.mmu.pageHashWord)).toEqual(["loadAcquire32"]);
    const one = longModeGuest({ nrAddressSpaces: 1 }).guest;
    expect(ask(one, 0x600)).toBe(0);
  });

  it("marks a synced table of level 1, inside the lock, before a write barrier", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 31, { level: 1 });
    const cpu = new RecordingCpu(guest.cpu);
    expect(ask(guest, 31, {}, cpu)).toBe(0);
    expect([isUnsync(guest, sp), guest.statistic("mmu_unsync")]).toEqual([true, 1]);
    expect(cpu.only("spin", "smp_wmb", "kvm")).toEqual([
      "spin_lock kvm->arch.mmu_unsync_pages_lock",
      "kvm_mmu_unsync_page",
      "spin_unlock kvm->arch.mmu_unsync_pages_lock",
      "smp_wmb",
    ]);
    expect(cpu.events[0]?.fields).toMatchObject({ gfn: 31, unsync: false });
    expectSound(guest);
  });

  it("marks every table of the gfn, and none twice", () => {
    const { guest } = longModeGuest();
    const { accAll, accWriteMask } = guest.format.rules;
    const first = getPage(guest, 32, { level: 1 });
    ask(guest, 32);
    const second = getPage(guest, 32, { level: 1, access: accAll & ~accWriteMask });
    const third = getPage(guest, 32, { level: 1, access: accWriteMask });
    expect(ask(guest, 32)).toBe(0);
    expect([first, second, third].map((sp) => isUnsync(guest, sp))).toEqual([true, true, true]);
    expect(guest.statistic("mmu_unsync")).toBe(3);
    const cpu = new RecordingCpu(guest.cpu);
    expect(ask(guest, 32, {}, cpu)).toBe(0);
    expect(cpu.only("spin")).toEqual([]);
    expectSound(guest);
  });

  it("refuses a tracked gfn: it holds a table above level 1, or somebody else wants to know", () => {
    const { guest } = longModeGuest();
    getPage(guest, 33, { level: 2 });
    expect(ask(guest, 33)).toBe(-1);
    guest.underWriteLock(() => kvmWriteTrackAddGfn(guest.memslots, guest.cpu, guest.slot, gfn(34)));
    expect([ask(guest, 34), ask(guest, 34, { prefetch: true })]).toEqual([-1, -1]);
  });

  it("refuses while an unsync page is synchronised, even if the table is unsync already", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 35, { level: 1 });
    expect([ask(guest, 35, { synchronizing: true }), isUnsync(guest, sp)]).toEqual([-1, false]);
    ask(guest, 35);
    expect(ask(guest, 35, { synchronizing: true })).toBe(-1);
    expect(ask(guest, 36, { synchronizing: true })).toBe(0);
  });

  it("refuses a prefetch, unless the table is unsync already", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 37, { level: 1 });
    expect([ask(guest, 37, { prefetch: true }), isUnsync(guest, sp)]).toEqual([-17, false]);
    ask(guest, 37);
    expect(ask(guest, 37, { prefetch: true })).toBe(0);
  });

  it("passes over obsolete and direct pages", () => {
    const { guest } = longModeGuest();
    const direct = getPage(guest, 38, { level: 1, direct: true });
    const old = getPage(guest, 38, { level: 1 });
    guest.cpu.writeOnce32(guest.mmu.mmuValidGenWord, 1);
    expect(ask(guest, 38)).toBe(0);
    expect([isUnsync(guest, old), isUnsync(guest, direct)]).toEqual([false, false]);
  });

  it("looks again under the lock: another reader may have marked the page", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 39, { level: 1 });
    const act = (cpu: Cpu) => kvmUnsyncPage(guest.mmu, cpu, sp);
    const cpu = new InterferingCpu(guest.cpu, [{ step: "spinLock", act }]);
    expect(ask(guest, 39, {}, cpu)).toBe(0);
    expect([cpu.happened, isUnsync(guest, sp), guest.statistic("mmu_unsync")]).toEqual([1, true, 1]);
    expectSound(guest);
  });

  it("asks for mmu_lock in any mode", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu, slot } = guest;
    const unlocked = () => mmuTryToUnsyncPages(mmu, cpu, slot, gfn(30), false, false);
    expect(unlocked).toThrow(/"kvm->mmu_lock" must be held, at/);
    expect(unsync(guest, 30)).toBe(0);
  });

  it("never marks a table above level 1", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 40, { level: 2 });
    expect(() => guest.underWriteLock(() => kvmUnsyncPage(guest.mmu, guest.cpu, sp))).toThrow(
      /only tables of level 1.*gfn 0x28, level 0x2/,
    );
  });
});

describe("marks", () => {
  /**
   * ```
   * root ─0─ upper ─0─ left ──0── leaf
   *                └1─ right ─7── leaf
   *                           └8─ other
   * ```
   */
  const diamond = () => {
    const { guest, root } = longModeGuest();
    const upper = getPage(guest, 50, { level: 3 });
    const left = getPage(guest, 51, { level: 2 });
    const right = getPage(guest, 52, { level: 2 });
    const leaf = getPage(guest, 53, { level: 1 });
    const other = getPage(guest, 54, { level: 1 });
    link(guest, root, 0, upper);
    link(guest, upper, 0, left);
    link(guest, upper, 1, right);
    link(guest, left, 0, leaf);
    link(guest, right, 7, leaf);
    link(guest, right, 8, other);
    const counts = () => [root, upper, left, right].map((sp) => unsyncChildren(guest, sp));
    const walk = () => guest.underWriteLock(() => mmuUnsyncWalk(guest.mmu, guest.cpu, root));
    return { guest, root, upper, left, right, leaf, other, counts, walk };
  };

  it("go up every way, once", () => {
    const { guest, counts } = diamond();
    unsync(guest, 53);
    expect(counts()).toEqual([1, 2, 1, 1]);
    unsync(guest, 54);
    expect(counts()).toEqual([1, 2, 1, 2]);
    expectSound(guest);
  });

  it("stop at an entry that is marked already", () => {
    const { guest, upper, counts } = diamond();
    unsync(guest, 53);
    guest.underWriteLock(() => markUnsync(guest.mmu, guest.cpu, spSptep(guest.cpu, upper, 0)));
    expect(counts()).toEqual([1, 2, 1, 1]);
  });

  it("lead to every unsync page once, by the first way", () => {
    const { guest, root, upper, left, right, leaf, other, walk } = diamond();
    unsync(guest, 53);
    unsync(guest, 54);
    expect(walk()?.leaves).toEqual([
      {
        sp: leaf,
        steps: [
          { parent: left, index: 0 },
          { parent: upper, index: 0 },
          { parent: root, index: 0 },
        ],
      },
      {
        sp: other,
        steps: [
          { parent: right, index: 8 },
          { parent: upper, index: 1 },
          { parent: root, index: 0 },
        ],
      },
    ]);
  });

  it("that lead nowhere are cleared by the walk", () => {
    const { guest, upper, left, leaf, counts, walk } = diamond();
    unsync(guest, 53);
    guest.underWriteLock(() =>
      mmuPageZapPte(guest.mmu, guest.cpu, upper, spSptep(guest.cpu, upper, 0), null),
    );
    expect(counts()).toEqual([1, 2, 1, 1]);
    expect(walk()?.leaves.map(({ sp }) => sp)).toEqual([leaf]);
    expect(counts()).toEqual([1, 1, 1, 1]);
    expectSound(guest);
    zap(guest, left);
    expect([counts(), guest.statistic("mmu_unsync")]).toEqual([[1, 1, 0, 1], 0]);
    expect(walk()).toBeNull();
    expect(counts()).toEqual([0, 0, 0, 0]);
    expectSound(guest);
  });

  it("are cleared upwards as far as nothing else is unsync", () => {
    const { guest, counts, walk } = diamond();
    unsync(guest, 54);
    unsync(guest, 53);
    const pages = walk()!;
    for (const leaf of pages.leaves) guest.underWriteLock(() => pages.clearParents(guest.cpu, leaf));
    // The second way to the first leaf is still marked; the next walk would clear it.
    expect(counts()).toEqual([1, 1, 0, 1]);
    expect(() => guest.underWriteLock(() => pages.clearParents(guest.cpu, pages.leaves[0]!))).toThrow(
      /unsync child cleared twice/,
    );
  });

  it("are found 16 records at a time, those on the way included", () => {
    const { guest, root } = longModeGuest();
    const upper = getPage(guest, 50, { level: 3 });
    const middle = getPage(guest, 51, { level: 2 });
    link(guest, root, 0, upper);
    link(guest, upper, 0, middle);
    for (let index = 0; index < 40; index++) {
      link(guest, middle, index * 12, getPage(guest, 60 + index, { level: 1 }));
      unsync(guest, 60 + index);
    }
    const found = (sp: typeof root) =>
      guest
        .underWriteLock(() => mmuUnsyncWalk(guest.mmu, guest.cpu, sp))!
        .leaves.map(({ steps }) => steps[0]!.index);
    expect(found(root)).toEqual(Array.from({ length: 13 }, (_, index) => index * 12));
    expect(found(middle)).toEqual(Array.from({ length: 15 }, (_, index) => index * 12));
    expectSound(guest);
  });

  it("live in words of 32 bits, all 512 of them", () => {
    const { guest, root } = longModeGuest();
    const { cpu } = guest;
    for (const index of [0, 31, 32, 63, 300, 511]) {
      expect(testAndSetUnsyncChildBit(cpu, root, index)).toBe(false);
      expect(testAndSetUnsyncChildBit(cpu, root, index)).toBe(true);
    }
    const found: number[] = [];
    for (
      let index = nextUnsyncChild(cpu, root, 0);
      index < 512;
      index = nextUnsyncChild(cpu, root, index + 1)
    ) {
      found.push(index);
    }
    expect(found).toEqual([0, 31, 32, 63, 300, 511]);
    expect(() => clearUnsyncChildBit(cpu, root, 31)).toThrow(/unsyncChildren 0x0/);
  });
});
