import { memberRequestsWord } from "@kvm-age/machine";
import { gfnWriteTrackCount, KVM_LPAGE_MIXED_FLAG, lpageInfoSlot } from "@kvm-age/memslot";
import {
  type Gfn,
  isMmuWritableSpte,
  isWritablePte,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  type Spte,
} from "@kvm-age/spte";
import { RecordingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { kvmMmuGetShadowPage } from "../../src/hash/kvm-mmu-get-shadow-page.js";
import { leafOf } from "../guest/kit/shadow-path.js";
import type { ShadowGuest } from "../kit/shadow-guest.js";
import {
  expectSound,
  getPage,
  indirectPages,
  isInvalid,
  LEAF,
  longModeGuest,
  roleLike,
  rootCount,
  WRITE,
  zap,
} from "./kit/pages.js";

const gfn = (value: number): Gfn => value as Gfn;

function counters(guest: ShadowGuest, at: number): { tracked: number; lpage2m: number; lpage1g: number } {
  const { cpu, slot } = guest;
  const disallowed = (level: 2 | 3): number =>
    cpu.readOnce32(lpageInfoSlot(cpu, slot, gfn(at), level)) % KVM_LPAGE_MIXED_FLAG;
  return {
    tracked: gfnWriteTrackCount(cpu, slot, gfn(at)),
    lpage2m: disallowed(PG_LEVEL_2M),
    lpage1g: disallowed(PG_LEVEL_1G),
  };
}

/** What one more page changes. */
function difference(guest: ShadowGuest, at: number, change: () => void) {
  const before = counters(guest, at);
  change();
  const after = counters(guest, at);
  return {
    tracked: after.tracked - before.tracked,
    lpage2m: after.lpage2m - before.lpage2m,
    lpage1g: after.lpage1g - before.lpage1g,
  };
}

describe("account_shadowed", () => {
  it("tracks a table above level 1 and forbids huge pages around it", () => {
    const { guest } = longModeGuest();
    const one = difference(guest, 70, () => getPage(guest, 70, { level: 2 }));
    expect(one).toEqual({ tracked: 1, lpage2m: 1, lpage1g: 1 });
    const another = difference(guest, 70, () => getPage(guest, 70, { level: 3 }));
    expect(another).toEqual({ tracked: 1, lpage2m: 1, lpage1g: 1 });
    expect(indirectPages(guest)).toBe(3);
    expectSound(guest);
  });

  it("only forbids huge pages around a table of level 1, which may go unsync", () => {
    const { guest } = longModeGuest();
    const change = difference(guest, 71, () => getPage(guest, 71, { level: 1 }));
    expect(change).toEqual({ tracked: 0, lpage2m: 1, lpage1g: 1 });
    expect(indirectPages(guest)).toBe(2);
  });

  it("does nothing for direct pages", () => {
    const { guest } = longModeGuest();
    const change = difference(guest, 72, () => getPage(guest, 72, { level: 1, direct: true }));
    expect(change).toEqual({ tracked: 0, lpage2m: 0, lpage1g: 0 });
    expect(indirectPages(guest)).toBe(1);
  });

  it("is undone by the zap, once, even if the page stays as a root", () => {
    const { guest, root, tables } = longModeGuest();
    const sp = getPage(guest, 73, { level: 2 });
    expect(difference(guest, 73, () => zap(guest, sp))).toEqual({ tracked: -1, lpage2m: -1, lpage1g: -1 });
    const leafTable = getPage(guest, 74, { level: 1 });
    expect(difference(guest, 74, () => zap(guest, leafTable))).toEqual({
      tracked: 0,
      lpage2m: -1,
      lpage1g: -1,
    });
    const rooted = difference(guest, tables.rootGfn, () => zap(guest, root));
    expect([rooted.tracked, rootCount(guest, root), isInvalid(guest, root)]).toEqual([-1, 1, true]);
    expect(indirectPages(guest)).toBe(0);
    expect(guest.cpu.readOnce32(memberRequestsWord(guest.flushDomain, 0)) & 2).toBe(2);
    expectSound(guest);
  });

  it("raises the count, then has a full barrier, then write-protects", () => {
    const { guest, tables } = longModeGuest();
    tables.map(0x400000, 75, LEAF);
    guest.fault(0x400000, WRITE);
    const before = leafOf(guest, 0x400000)!.spte;
    expect([isWritablePte(before), isMmuWritableSpte(guest.format, before)]).toEqual([true, true]);
    const cpu = new RecordingCpu(guest.cpu);
    getPage(guest, 75, { level: 2 }, cpu);
    const after = leafOf(guest, 0x400000)!.spte as Spte;
    expect([isWritablePte(after), isMmuWritableSpte(guest.format, after)]).toEqual([false, false]);
    expect(cpu.only("smp_mb", "flush")).toEqual(["smp_mb", "flush"]);
    expectSound(guest);
  });

  it("does not flush if nobody could write", () => {
    const { guest } = longModeGuest();
    const cpu = new RecordingCpu(guest.cpu);
    getPage(guest, 76, { level: 1 }, cpu);
    expect(cpu.only("smp_mb", "flush")).toEqual(["smp_mb"]);
  });

  it("asks the other MMU too, and flushes for it", () => {
    const asked: number[] = [];
    const otherMmu = { writeProtectGfn: (_cpu: unknown, _slot: unknown, at: Gfn) => asked.push(at) > 0 };
    const { guest } = longModeGuest({ otherMmu });
    asked.length = 0;
    const cpu = new RecordingCpu(guest.cpu);
    getPage(guest, 77, { level: 1 }, cpu);
    expect([asked, cpu.only("flush")]).toEqual([[77], ["flush"]]);
  });

  it("refuses a table outside every slot", () => {
    const { guest } = longModeGuest();
    expect(() => getPage(guest, 0x100000, { level: 2 })).toThrow(/outside every slot.*gfn 0x100000/);
  });

  it("asks for SRCU or slots_lock besides mmu_lock", () => {
    const { guest } = longModeGuest();
    const { mmu, cpu, vcpu } = guest;
    vcpu.topUpMemoryCaches(cpu, true);
    cpu.writeLock(mmu.mmuLock);
    const get = () => kvmMmuGetShadowPage(mmu, cpu, vcpu, gfn(78), roleLike(guest, { level: 2 }));
    expect(get).toThrow(/"kvm->slots_lock", "kvm->srcu" must be held/);
  });

  it("accounts system-management mode's tables in its own slots", () => {
    const { guest } = longModeGuest();
    guest.setRegion(1 << 16, 0, 4096, 0x7f0000000000 as never, 0);
    getPage(guest, 79, { level: 2, smm: 1 });
    const smmSlot = guest.memslots.gfnToMemslot(guest.cpu, 1, gfn(79));
    expect(gfnWriteTrackCount(guest.cpu, smmSlot, gfn(79))).toBe(1);
    expect(counters(guest, 79).tracked).toBe(0);
    expectSound(guest);
  });
});
