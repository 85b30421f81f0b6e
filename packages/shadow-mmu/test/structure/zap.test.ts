import { memberRequestsWord, OUTSIDE_GUEST_MODE, READING_SHADOW_PAGE_TABLES } from "@kvm-age/machine";
import { SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { InterferingCpu, RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { type KvmMmuPage, parentPtes } from "../../src/page/kvm-mmu-page.js";
import { kvmMmuUnload } from "../../src/root/kvm-mmu-unload.js";
import { InvalidList } from "../../src/zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../../src/zap/kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage, prepareZapPage } from "../../src/zap/kvm-mmu-prepare-zap-page.js";
import { kvmMmuRemoteFlushOrZap } from "../../src/zap/kvm-mmu-remote-flush-or-zap.js";
import { leafOf, shadowPath } from "../guest/kit/shadow-path.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  activePages,
  entry,
  expectSound,
  getPage,
  isInvalid,
  LEAF,
  link,
  longModeGuest,
  nestedGuest,
  rootCount,
  unsync,
  unsyncChildren,
  usedPages,
  WRITE,
  zap,
} from "./kit/pages.js";

function requests(guest: ShadowGuest, id = 0): number {
  return guest.cpu.readOnce32(memberRequestsWord(guest.flushDomain, id));
}

/** Frames and descriptors that shadow pages hold. */
function memory(guest: ShadowGuest): { frames: number; headers: number; descriptors: number } {
  const { machine, mmu, cpu } = guest;
  return {
    frames: machine.frames.allocatedFrames(cpu),
    headers: mmu.headers.allocatedObjects(cpu),
    descriptors: mmu.rmaps.descriptors.allocatedObjects(cpu),
  };
}

/** A tree under the root: one table of level 3, one of level 2, `count` of level 1. */
function tree(guest: ShadowGuest, root: KvmMmuPage, gfn: number, count: number) {
  const upper = getPage(guest, gfn, { level: 3 });
  const middle = getPage(guest, gfn + 1, { level: 2 });
  link(guest, root, 0, upper);
  link(guest, upper, 0, middle);
  const leaves = Array.from({ length: count }, (_, index) => {
    const leafTable = getPage(guest, gfn + 2 + index, { level: 1 });
    link(guest, middle, index, leafTable);
    return leafTable;
  });
  return { upper, middle, leaves };
}

describe("prepare and commit", () => {
  it("unlinks, accounts, and frees after a flush", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 300, LEAF);
    guest.fault(0x400000, WRITE);
    const leaf = leafOf(guest, 0x400000)!;
    const above = shadowPath(guest, 0x400000).find(({ level }) => level === 2)!;
    const before = memory(guest);
    const cpu = new RecordingCpu(guest.cpu);
    guest.underWriteLock(() => {
      const list = new InvalidList();
      expect(prepareZapPage(guest.mmu, cpu, leaf.sp, list)).toEqual({ nrZapped: 1, listUnstable: false });
      expect([isInvalid(guest, leaf.sp), list.pages, list.isEmpty]).toEqual([true, [leaf.sp], false]);
      expect(guest.cpu.readOnce(above.sptep)).toBe(SHADOW_NONPRESENT_VALUE);
      expect(guest.cpu.readOnce(leaf.sptep)).toBe(SHADOW_NONPRESENT_VALUE);
      expect(memory(guest).headers).toBe(before.headers);
      expect(cpu.only("flush")).toEqual([]);
      kvmMmuCommitZapPage(guest.mmu, cpu, list);
      expect([list.isEmpty, cpu.only("flush")]).toEqual([true, ["flush"]]);
      kvmMmuCommitZapPage(guest.mmu, cpu, list);
    }, cpu);
    expect(cpu.only("flush")).toEqual(["flush"]);
    const after = memory(guest);
    expect([before.headers - after.headers, before.frames - after.frames]).toEqual([1, 2]);
    expect([guest.statistic("pages_4k"), guest.statistic("mmu_shadow_zapped")]).toEqual([0, 1]);
    expectSound(guest);
  });

  it("shows the page in the event as it was before", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 100, { level: 1 });
    unsync(guest, 100);
    const cpu = new RecordingCpu(guest.cpu);
    zap(guest, sp, cpu);
    expect(cpu.events.map(({ name }) => name)).toEqual(["kvm_mmu_prepare_zap_page", "kvm_mmu_sync_page"]);
    expect(cpu.events[0]?.fields).toMatchObject({ gfn: 100, invalid: false, unsync: true, root: 0 });
    expect(cpu.events[1]?.fields).toMatchObject({ gfn: 100, unsync: true });
  });

  it("frees only once a lockless walk is over", () => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 101, { level: 1 });
    const { modeWord } = guest.vcpu;
    guest.cpu.writeOnce32(modeWord, READING_SHADOW_PAGE_TABLES);
    const before = memory(guest).headers;
    let during = 0;
    const act = (): void => {
      during = memory(guest).headers;
      guest.cpu.writeOnce32(modeWord, OUTSIDE_GUEST_MODE);
    };
    const cpu = new InterferingCpu(guest.cpu, [{ step: "relax", act }]);
    zap(guest, sp, cpu);
    expect([cpu.happened, during - before, memory(guest).headers - before]).toEqual([1, 0, -1]);
  });

  it("takes every entry and every link, whatever it is", () => {
    const { guest, root } = longModeGuest();
    const { upper, middle, leaves } = tree(guest, root, 110, 3);
    const other = getPage(guest, 120, { level: 2 });
    link(guest, upper, 5, other);
    link(guest, other, 511, leaves[0]!);
    expect(zap(guest, middle)).toBe(false);
    expect(entry(guest, upper, 0)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(leaves.map((leaf) => guest.cpu.readOnce(parentPtes(leaf)) !== 0n)).toEqual([true, false, false]);
    zap(guest, leaves[0]!);
    expect(entry(guest, other, 511)).toBe(SHADOW_NONPRESENT_VALUE);
    expect(activePages(guest)).toEqual([other, leaves[2], leaves[1], upper, root]);
    expectSound(guest);
  });

  it("zaps unsync descendants along, and says that the list is unstable", () => {
    const { guest, root } = longModeGuest();
    const { upper, middle, leaves } = tree(guest, root, 130, 40);
    for (const index of [0, 3, 17, 39]) unsync(guest, 132 + index);
    const list = new InvalidList();
    const outcome = guest.underWriteLock(() => {
      const result = prepareZapPage(guest.mmu, guest.cpu, upper, list);
      kvmMmuCommitZapPage(guest.mmu, guest.cpu, list);
      return result;
    });
    expect(outcome).toEqual({ nrZapped: 5, listUnstable: true });
    expect(guest.statistic("mmu_unsync")).toBe(0);
    expect(unsyncChildren(guest, middle)).toBe(0);
    // They are marked in the root still, and the next walk from there finds nothing.
    expect(activePages(guest)).toHaveLength(leaves.length - 4 + 2);
    expectSound(guest);
  });

  it("zaps more unsync descendants than one walk records", () => {
    const { guest, root } = longModeGuest();
    const { middle } = tree(guest, root, 130, 40);
    for (let index = 0; index < 40; index++) unsync(guest, 132 + index);
    expect(zap(guest, middle)).toBe(true);
    expect([guest.statistic("mmu_unsync"), guest.statistic("mmu_shadow_zapped")]).toEqual([0, 41]);
    expectSound(guest);
  });
});

describe("a page that is a root", () => {
  it("is retired, not freed, and its vCPUs are told after it is invalid", () => {
    const { guest, root } = longModeGuest();
    const second = guest.addVcpu();
    const used = usedPages(guest);
    const list = new InvalidList();
    expect(guest.underWriteLock(() => prepareZapPage(guest.mmu, guest.cpu, root, list))).toEqual({
      nrZapped: 0,
      listUnstable: false,
    });
    expect([list.isEmpty, isInvalid(guest, root), usedPages(guest)]).toEqual([true, true, used]);
    expect(activePages(guest)).toEqual([]);
    expect([requests(guest), requests(guest, second.id)]).toEqual([2, 2]);
    expectSound(guest);
  });

  it("goes with its last reference, without another request", () => {
    const { guest, root } = longModeGuest();
    zap(guest, root);
    guest.cpu.writeOnce32(memberRequestsWord(guest.flushDomain, 0), 0);
    const before = memory(guest).headers;
    guest.inSrcu(() => kvmMmuUnload(guest.mmu, guest.cpu, guest.vcpu));
    expect([usedPages(guest), before - memory(guest).headers, requests(guest) & 2]).toEqual([0, 1, 0]);
    expectSound(guest);
  });

  it("is not announced again if it is obsolete", () => {
    const { guest, root } = longModeGuest();
    guest.cpu.writeOnce32(guest.mmu.mmuValidGenWord, 1);
    zap(guest, root);
    expect([isInvalid(guest, root), rootCount(guest, root), requests(guest)]).toEqual([true, 1, 0]);
  });

  it("is not freed by mistake", () => {
    const { guest, root } = longModeGuest();
    const list = new InvalidList();
    list.pages.push(root);
    expect(() => guest.underWriteLock(() => kvmMmuCommitZapPage(guest.mmu, guest.cpu, list))).toThrow(
      /freed while in use.*rootCount 0x1/,
    );
  });
});

describe("nested tables", () => {
  it("go with the last table that led to them", () => {
    const { guest, root } = nestedGuest();
    const { upper, middle, leaves } = tree(guest, root, 140, 2);
    const other = getPage(guest, 150, { level: 2 });
    link(guest, upper, 1, other);
    link(guest, other, 0, leaves[0]!);
    expect(zap(guest, middle)).toBe(true);
    expect(activePages(guest)).toEqual([other, leaves[0], upper, root]);
    expect(zap(guest, root)).toBe(true);
    expect([activePages(guest), usedPages(guest)]).toEqual([[], 1]);
    expectSound(guest);
  });

  it("of a guest that is not nested stay", () => {
    const { guest, root } = longModeGuest();
    tree(guest, root, 140, 2);
    expect(zap(guest, root)).toBe(false);
    expect(activePages(guest)).toHaveLength(4);
  });
});

describe("kvm_mmu_remote_flush_or_zap", () => {
  it.each([
    [false, false, false, []],
    [false, true, true, ["flush"]],
    [true, false, true, ["flush"]],
    [true, true, true, ["flush"]],
  ])("with pages %s, asked %s: flushed %s", (withPage, flush, expected, flushes) => {
    const { guest } = longModeGuest();
    const sp = getPage(guest, 160, { level: 1 });
    const cpu = new RecordingCpu(guest.cpu);
    const flushed = guest.underWriteLock(() => {
      const list = new InvalidList();
      if (withPage) kvmMmuPrepareZapPage(guest.mmu, cpu, sp, list);
      return kvmMmuRemoteFlushOrZap(guest.mmu, cpu, list, flush);
    }, cpu);
    expect([flushed, cpu.only("flush")]).toEqual([expected, flushes]);
  });
});

it("zapping asks for mmu_lock, in the mode it needs", () => {
  const { guest } = longModeGuest();
  const sp = getPage(guest, 161, { level: 1 });
  const prepare = () => kvmMmuPrepareZapPage(guest.mmu, guest.cpu, sp, new InvalidList());
  expect(prepare).toThrow(/"kvm->mmu_lock" must be held for write/);
  guest.cpu.readLock(guest.mmu.mmuLock);
  expect(prepare).toThrow(/"kvm->mmu_lock" must be held for write/);
});
