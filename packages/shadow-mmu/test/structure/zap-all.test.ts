import { memberRequestsWord } from "@kvm-age/machine";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { mmuValidGenWord } from "../../src/page/kvm-mmu-page.js";
import { kvmMmuFreeObsoleteRoots } from "../../src/root/kvm-mmu-free-obsolete-roots.js";
import { kvmMmuZapAll } from "../../src/zap/kvm-mmu-zap-all.js";
import { kvmMmuZapAllFastBegin, kvmShadowZapAllFast } from "../../src/zap/kvm-mmu-zap-all-fast.js";
import { kvmShadowFlushMemslot } from "../../src/zap/kvm-shadow-flush-memslot.js";
import { kvmZapObsoletePages } from "../../src/zap/kvm-zap-obsolete-pages.js";
import { HOST_BASE } from "../guest/kit/byte-host.js";
import { leafOf } from "../guest/kit/shadow-path.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  expectSound,
  getPage,
  indirectPages,
  isInvalid,
  LEAF,
  link,
  longModeGuest,
  unsync,
  usedPages,
  WRITE,
  zap,
} from "./kit/pages.js";

function generation(guest: ShadowGuest): number {
  return guest.cpu.readOnce32(guest.mmu.mmuValidGenWord);
}

function requests(guest: ShadowGuest): number {
  return guest.cpu.readOnce32(memberRequestsWord(guest.flushDomain, 0));
}

/** Pages of level 1 at `count` gfns from `gfn` on. */
function makePages(guest: ShadowGuest, gfn: number, count: number) {
  return Array.from({ length: count }, (_, index) => getPage(guest, gfn + index, { level: 1 }));
}

describe("kvm_mmu_zap_all_fast", () => {
  it("toggles the generation, asks for obsolete roots to be dropped, and zaps everything but roots", () => {
    const { guest, root } = longModeGuest();
    makePages(guest, 30, 5);
    const cpu = new RecordingCpu(guest.cpu);
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, cpu), cpu);
    expect([generation(guest), requests(guest), indirectPages(guest), usedPages(guest)]).toEqual([
      1, 3, 0, 1,
    ]);
    expect([activePages(guest), isInvalid(guest, root)]).toEqual([[], true]);
    expect(cpu.events[0]).toEqual({
      name: "kvm_mmu_zap_all_fast",
      fields: { mmu_valid_gen: 0, mmu_used_pages: 6 },
    });
    expect(cpu.only("write", "flush", "kvm_mmu_zap_all")).toEqual([
      "write_lock kvm->mmu_lock",
      "kvm_mmu_zap_all_fast",
      "flush",
      "write_unlock kvm->mmu_lock",
    ]);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu));
    expect(usedPages(guest)).toBe(0);
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, guest.cpu));
    expect(generation(guest)).toBe(0);
    expectSound(guest);
  });

  it("zaps the oldest first", () => {
    const { guest } = longModeGuest();
    makePages(guest, 30, 4);
    const cpu = new RecordingCpu(guest.cpu);
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, cpu), cpu);
    const zapped = cpu.events.filter(({ name }) => name === "kvm_mmu_prepare_zap_page");
    expect(zapped.map(({ fields }) => fields.gfn)).toEqual([1, 30, 31, 32, 33]);
    expect(zapped.map(({ fields }) => fields.gen)).toEqual([0, 0, 0, 0, 0]);
  });

  it("gives way after ten pages at a time and starts again at the end of the list", () => {
    const { guest } = longModeGuest();
    makePages(guest, 30, 35);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, cpu), cpu);
    const between = cpu.log.join(" ").split("cond_resched");
    const zaps = between.map((part) => part.split("kvm_mmu_prepare_zap_page").length - 1);
    // The root does not count towards the ten, because it is not freed.
    expect(zaps).toEqual([11, 10, 10, 5]);
    expect(cpu.only("flush")).toEqual(["flush"]);
    expect(usedPages(guest)).toBe(1);
    expectSound(guest);
  });

  it("leaves pages alone that are made while it gives way, so that there are two generations at most", () => {
    const { guest } = longModeGuest();
    makePages(guest, 30, 25);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    const generations: number[][] = [];
    let gfn = 100;
    cpu.onCondResched = () => {
      getPage(guest, gfn++, { level: 1 });
      const all = activePages(guest).map((sp) => guest.cpu.readOnce32(mmuValidGenWord(sp)));
      generations.push(all.filter((value, index) => value !== all[index - 1]));
    };
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, cpu), cpu);
    // Newest first: the new generation, then the old one.
    expect(generations).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect(activePages(guest)).toHaveLength(2);
    expectSound(guest);
  });

  it("starts again if a zap took others along", () => {
    const { guest, root } = longModeGuest();
    const middle = getPage(guest, 31, { level: 2 });
    const leafTable = getPage(guest, 32, { level: 1 });
    link(guest, middle, 0, leafTable);
    unsync(guest, 32);
    makePages(guest, 40, 2);
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, guest.cpu));
    expect([activePages(guest), usedPages(guest), isInvalid(guest, root)]).toEqual([[], 1, true]);
    expectSound(guest);
  });

  it("stops at the first page that is not obsolete", () => {
    const { guest } = longModeGuest();
    const [first] = makePages(guest, 30, 3);
    guest.underSlotsLock(() => guest.underWriteLock(() => kvmZapObsoletePages(guest.mmu, guest.cpu)));
    expect(activePages(guest)).toContain(first);
    expect(usedPages(guest)).toBe(4);
  });

  it("is lost on the guest's next fault: everything comes back under a new root", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    guest.underSlotsLock(() => kvmShadowZapAllFast(guest.mmu, guest.cpu));
    expect(guest.fault(0x400000, WRITE).ret).toBe(1);
    guest.inSrcu(() => kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu));
    guest.reload();
    guest.fault(0x400000, WRITE);
    expect(leafOf(guest, 0x400000)).not.toBeNull();
    expectSound(guest);
  });

  it("asks for slots_lock, held all the time", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu } = guest;
    expect(() => guest.underWriteLock(() => kvmMmuZapAllFastBegin(mmu, cpu))).toThrow(
      /"kvm->slots_lock" must be held/,
    );
    const other = longModeGuest().guest;
    expect(() => other.underWriteLock(() => kvmZapObsoletePages(other.mmu, other.cpu))).toThrow(
      /"kvm->slots_lock" must be held/,
    );
    const third = longModeGuest().guest;
    expect(() => third.underSlotsLock(() => kvmZapObsoletePages(third.mmu, third.cpu))).toThrow(
      /"kvm->mmu_lock" must be held for write/,
    );
  });
});

describe("kvm_mmu_zap_all", () => {
  it("zaps every page, giving way after each", () => {
    const { guest, root } = longModeGuest();
    const middle = getPage(guest, 31, { level: 2 });
    link(guest, middle, 0, getPage(guest, 32, { level: 1 }));
    unsync(guest, 32);
    makePages(guest, 40, 10);
    const cpu = new RecordingCpu(guest.cpu);
    cpu.needbreak = () => true;
    guest.underWriteLock(() => kvmMmuZapAll(guest.mmu, cpu), cpu);
    expect([activePages(guest), usedPages(guest), isInvalid(guest, root)]).toEqual([[], 1, true]);
    expect(cpu.only("cond_resched").length).toBeGreaterThan(5);
    expect(cpu.only("flush")).toEqual(["flush"]);
    expectSound(guest);
  });

  it("asks for mmu_lock", () => {
    const { guest } = longModeGuest();
    expect(() => kvmMmuZapAll(guest.mmu, guest.cpu)).toThrow(/"kvm->mmu_lock" must be held for write/);
  });
});

describe("a slot that goes", () => {
  const OTHER = 0x8000;

  /** A second slot at gfn 0x8000 with the same bytes, and a page mapped from each. */
  const twoSlots = (slotZapAll: boolean) => {
    const { guest, tables, root } = longModeGuest({ options: { slotZapAll } });
    guest.setRegion(1, OTHER, 256, HOST_BASE, 0);
    tables.map(0x400000, 300, LEAF);
    tables.map(0x401000, OTHER + 40, LEAF);
    guest.fault(0x400000, WRITE);
    guest.fault(0x401000, WRITE);
    const shadowing = getPage(guest, OTHER + 50, { level: 1 });
    return { guest, root, shadowing };
  };

  it("takes everything with it by the quirk", () => {
    const { guest, root } = twoSlots(true);
    guest.setRegion(1, OTHER, 0, HOST_BASE, 0);
    expect([generation(guest), activePages(guest), isInvalid(guest, root)]).toEqual([1, [], true]);
    expectSound(guest);
  });

  it("without the quirk takes only what maps it and shadows tables in it", () => {
    const { guest, root, shadowing } = twoSlots(false);
    const flushes: string[][] = [];
    const recorder = new RecordingCpu(guest.cpu);
    guest.setRegion(1, OTHER, 0, HOST_BASE, 0, {
      ...guest.arch,
      flushShadowMemslot: (_cpu, slot) => {
        kvmShadowFlushMemslot(guest.mmu, recorder, slot);
        flushes.push(recorder.only("flush"));
      },
    });
    expect(flushes).toEqual([["flush"]]);
    expect([generation(guest), isInvalid(guest, root), activePages(guest).includes(shadowing)]).toEqual([
      0,
      false,
      false,
    ]);
    expect(leafOf(guest, 0x400000)).not.toBeNull();
    expect(leafOf(guest, 0x401000)).toBeNull();
    expectSound(guest);
  });

  it("flushes before it gives way, and once more only for what it zapped since", () => {
    const { guest } = twoSlots(false);
    const recorder = new RecordingCpu(guest.cpu);
    recorder.needbreak = () => true;
    guest.setRegion(1, OTHER, 0, HOST_BASE, 0, {
      ...guest.arch,
      flushShadowMemslot: (_cpu, slot) => kvmShadowFlushMemslot(guest.mmu, recorder, slot),
    });
    // The rmap walk flushed what it unmapped; then nothing until the table at page 50 is zapped.
    const log = recorder.only("flush", "cond", "kvm_mmu_prepare");
    const zapAt = log.indexOf("kvm_mmu_prepare_zap_page");
    expect(log.slice(zapAt, zapAt + 3)).toEqual(["kvm_mmu_prepare_zap_page", "flush", "cond_resched"]);
    expect(log.slice(zapAt + 3).filter((step) => step.startsWith("flush"))).toEqual([]);
    expectSound(guest);
  });

  it("needs no walk over its gfns if there are no pages", () => {
    const { guest, root } = longModeGuest({ options: { slotZapAll: false } });
    zap(guest, root);
    const recorder = new RecordingCpu(guest.cpu);
    recorder.needbreak = () => true;
    guest.underSlotsLock(() => kvmShadowFlushMemslot(guest.mmu, recorder, guest.slot), recorder);
    // The rmap walk gives way at the first list of each level.
    expect(recorder.only("cond")).toHaveLength(3);
  });
});
