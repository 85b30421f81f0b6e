import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuChangeMmuPages } from "../../src/zap/kvm-mmu-change-mmu-pages.js";
import { kvmMmuZapOldestMmuPages } from "../../src/zap/kvm-mmu-zap-oldest-mmu-pages.js";
import { KVM_MIN_FREE_MMU_PAGES, makeMmuPagesAvailable } from "../../src/zap/make-mmu-pages-available.js";
import { longMode } from "../guest/kit/registers.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  expectSound,
  getPage,
  LEAF,
  link,
  longModeGuest,
  nestedGuest,
  unsync,
  usedPages,
  WRITE,
} from "./kit/pages.js";

const quota = (guest: ShadowGuest): number => guest.cpu.readOnce32(guest.mmu.nMaxMmuPagesWord);

function setQuota(guest: ShadowGuest, pages: number): void {
  guest.cpu.writeOnce32(guest.mmu.nMaxMmuPagesWord, pages);
}

function fill(guest: ShadowGuest, count: number) {
  return Array.from({ length: count }, (_, index) => getPage(guest, 30 + index, { level: 1 }));
}

describe("kvm_mmu_zap_oldest_mmu_pages", () => {
  it("zaps the oldest, and never a root", () => {
    const { guest, root } = longModeGuest();
    const pages = fill(guest, 6);
    const cpu = new RecordingCpu(guest.cpu);
    const zapped = guest.underWriteLock(() => kvmMmuZapOldestMmuPages(guest.mmu, cpu, 2), cpu);
    expect(zapped).toBe(2);
    expect(activePages(guest)).toEqual([...pages.slice(2).reverse(), root]);
    expect([cpu.only("flush"), guest.statistic("mmu_recycled")]).toEqual([["flush"], 2]);
    expectSound(guest);
  });

  it("stops when only roots are left", () => {
    const { guest, root } = longModeGuest();
    fill(guest, 3);
    expect(guest.underWriteLock(() => kvmMmuZapOldestMmuPages(guest.mmu, guest.cpu, 100))).toBe(3);
    expect(activePages(guest)).toEqual([root]);
    expectSound(guest);
  });

  it("counts what went along, and starts again at the oldest", () => {
    const { guest, root } = longModeGuest();
    const middle = getPage(guest, 31, { level: 2 });
    const newer = getPage(guest, 32, { level: 1 });
    link(guest, middle, 0, newer);
    const rest = [getPage(guest, 40, { level: 1 }), getPage(guest, 41, { level: 1 })];
    unsync(guest, 32);
    expect(guest.underWriteLock(() => kvmMmuZapOldestMmuPages(guest.mmu, guest.cpu, 3))).toBe(3);
    expect(activePages(guest)).toEqual([rest[1], root]);
    expectSound(guest);
  });

  it("may zap more than asked for", () => {
    const { guest, root } = nestedGuest();
    const middle = getPage(guest, 31, { level: 2 });
    for (let index = 0; index < 4; index++)
      link(guest, middle, index, getPage(guest, 40 + index, { level: 1 }));
    expect(guest.underWriteLock(() => kvmMmuZapOldestMmuPages(guest.mmu, guest.cpu, 1))).toBe(5);
    expect(activePages(guest)).toEqual([root]);
  });
});

describe("make_mmu_pages_available", () => {
  const make = (guest: ShadowGuest) =>
    guest.underWriteLock(() => makeMmuPagesAvailable(guest.mmu, guest.cpu));

  it.each([5, 6, 100])("does nothing with %i pages left", (left) => {
    const { guest } = longModeGuest();
    fill(guest, 10);
    setQuota(guest, 11 + left);
    expect([make(guest), usedPages(guest)]).toEqual([true, 11]);
  });

  it.each([
    [4, 21],
    [0, 25],
    [-3, 25],
  ])("with %i left zaps %i of the oldest", (left, zapped) => {
    const { guest } = longModeGuest();
    fill(guest, 40);
    setQuota(guest, 41 + left);
    expect([make(guest), guest.statistic("mmu_recycled")]).toEqual([true, zapped]);
    expectSound(guest);
  });

  it("fails only if nothing is left", () => {
    const { guest } = longModeGuest();
    setQuota(guest, 1);
    expect(make(guest)).toBe(false);
    setQuota(guest, 2);
    expect(make(guest)).toBe(true);
    expect(KVM_MIN_FREE_MMU_PAGES).toBe(5);
  });

  it("lets a fault through that stays within it in the end", () => {
    const { guest, tables } = longModeGuest();
    fill(guest, 40);
    setQuota(guest, 41);
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    expect(usedPages(guest)).toBe(41 - 25 + 3);
    expectSound(guest);
  });

  it("makes a fault fail with ENOSPC, and a root not load", () => {
    const { guest, tables } = longModeGuest();
    setQuota(guest, 1);
    tables.map(0x400000, 300, LEAF);
    expect(guest.fault(0x400000, WRITE)).toMatchObject({ ret: 7, errno: "ENOSPC" });
    const second = guest.addVcpu();
    expect(() => guest.load(longMode({ cr3: tables.rootGfn * 4096 }), second)).toThrow("ENOSPC");
    expectSound(guest);
  });

  it("asks for mmu_lock", () => {
    const { guest } = longModeGuest();
    expect(() => makeMmuPagesAvailable(guest.mmu, guest.cpu)).toThrow(
      /"kvm->mmu_lock" must be held for write/,
    );
  });
});

describe("kvm_mmu_change_mmu_pages", () => {
  it("raises the quota, or zaps down to it", () => {
    const { guest, root } = longModeGuest();
    const pages = fill(guest, 10);
    guest.inSrcu(() => kvmMmuChangeMmuPages(guest.mmu, guest.cpu, 500));
    expect([quota(guest), usedPages(guest)]).toEqual([500, 11]);
    guest.inSrcu(() => kvmMmuChangeMmuPages(guest.mmu, guest.cpu, 7));
    expect([quota(guest), usedPages(guest)]).toEqual([7, 7]);
    expect(activePages(guest)).toEqual([...pages.slice(4).reverse(), root]);
    expectSound(guest);
  });

  it("keeps what roots use above the goal", () => {
    const { guest } = longModeGuest();
    guest.inSrcu(() => kvmMmuChangeMmuPages(guest.mmu, guest.cpu, 0));
    expect([quota(guest), usedPages(guest)]).toEqual([1, 1]);
  });

  it("follows the slots", () => {
    const { guest } = longModeGuest({ slotPages: 4096 });
    expect(quota(guest)).toBe(81);
  });
});
