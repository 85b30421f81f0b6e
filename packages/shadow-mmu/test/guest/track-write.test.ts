import { ForwardingCpu } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, slotDirtyBitmap } from "@kvm-age/memslot";
import { RetPf } from "@kvm-age/page-fault";
import { type Gfn, isShadowPresentPte, linux73, linux615 } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { detectWriteMisaligned } from "../../src/guest-write/detect-write.js";
import { kvmMmuTrackWrite } from "../../src/guest-write/kvm-mmu-track-write.js";
import {
  kvmMmuUnprotectGfn,
  kvmMmuUnprotectGfnAndRetry,
} from "../../src/guest-write/kvm-mmu-unprotect-gfn.js";
import { kvmWriteGuestPte } from "../../src/guest-write/kvm-write-guest-pte.js";
import { kvmInitShadowEptMmu } from "../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { ShadowGuest, type ShadowGuestInit } from "../kit/shadow-guest.js";
import { HOST_BASE } from "./kit/byte-host.js";
import { violations } from "./kit/check.js";
import { A, D, EPT_A, EPT_D, EPT_RWX, EPT_WB, GuestTables, P, U, W } from "./kit/guest-tables.js";
import { longMode } from "./kit/registers.js";
import { lastStep, shadowPath } from "./kit/shadow-path.js";

const WRITE = 2;
const PRESENT_WRITE = 3;
const GVA = 0x40_0000;
const DATA = 300;
const LEAF = P | W | U | A | D;

function guestWithPages(init: ShadowGuestInit = {}) {
  const guest = new ShadowGuest(init);
  const tables = new GuestTables(guest, 4, P | W | U | A);
  for (let page = 0; page < 4; page++) tables.map(GVA + page * 4096, DATA + page, LEAF);
  guest.load(longMode());
  guest.host.prefetchable = false;
  for (let page = 0; page < 4; page++) guest.fault(GVA + page * 4096, WRITE);
  const { mmu, cpu, vcpu } = guest;
  const track = (gpa: number, bytes: number) => guest.inSrcu(() => kvmMmuTrackWrite(mmu, cpu, gpa, bytes));
  const write = (gpa: number, value: bigint, size: 4 | 8 = 8) =>
    guest.inSrcu(() => kvmWriteGuestPte(mmu, cpu, vcpu, gpa, size, value));
  const levels = () => shadowPath(guest, GVA).length;
  return { guest, tables, track, write, levels };
}

describe("misaligned writes: not of an entry, nor of half of one", () => {
  it.each([
    [0, 8, false],
    [8, 8, false],
    [4, 4, false],
    [0, 4, false],
    [0, 1, false],
    [4088, 8, false],
    [1, 1, true],
    [7, 1, true],
    [0, 2, true],
    [0, 3, true],
    [4, 8, true],
    [6, 4, true],
    [0, 16, true],
    [4, 6, true],
    [1, 7, false],
  ])("offset %i, %i bytes: %s", (offset, bytes, misaligned) => {
    expect(detectWriteMisaligned(0x5000 + offset, bytes)).toBe(misaligned);
  });
});

describe("track_write", () => {
  it("zaps the one entry that was written", () => {
    const { guest, tables, track } = guestWithPages();
    const neighbours = [1, 2, 3].map((page) => lastStep(guest, GVA + page * 4096).spte);
    track(tables.entry(GVA, 1), 8);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    expect([1, 2, 3].map((page) => lastStep(guest, GVA + page * 4096).spte)).toEqual(neighbours);
    expect(guest.statistic("mmu_pte_write")).toBe(1);
    expect(guest.statistic("mmu_flooded")).toBe(0);
    expect(violations(guest)).toEqual([]);
  });

  it.each([0, 4, 6])("four bytes at offset %i count as all of the entry", (offset) => {
    const { guest, tables, track } = guestWithPages();
    track(tables.entry(GVA, 1) + offset, 4);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    expect(guest.statistic("mmu_flooded")).toBe(0);
  });

  it("flushes if hardware may have used the entry", () => {
    const { guest, tables, track } = guestWithPages();
    let flushes = 0;
    guest.cpu.flushRemoteTlbs = () => void flushes++;
    track(tables.entry(GVA, 1), 8);
    track(tables.entry(GVA, 1), 8);
    expect(flushes).toBe(1);
  });

  it("a byte at the start of an entry is a flag; any other gives the table up", () => {
    const { guest, tables, track, levels } = guestWithPages();
    track(tables.entry(GVA, 1), 1);
    expect(levels()).toBe(4);
    track(tables.entry(GVA, 1) + 1, 1);
    expect(levels()).toBe(3);
    expect(guest.statistic("mmu_flooded")).toBe(1);
    expect(violations(guest)).toEqual([]);
  });

  it("the third write to an upper table without use gives it up", () => {
    const { guest, tables, track, levels } = guestWithPages();
    // An unused entry of the level-2 table: nothing below is lost.
    const gpa = tables.entry(GVA, 2) + 8;
    track(gpa, 8);
    track(gpa, 8);
    expect([levels(), guest.statistic("mmu_flooded")]).toEqual([4, 0]);
    track(gpa, 8);
    expect([levels(), guest.statistic("mmu_flooded")]).toEqual([2, 1]);
    expect(violations(guest)).toEqual([]);
  });

  it("a use starts the count anew", () => {
    const { guest, tables, track, levels } = guestWithPages();
    const gpa = tables.entry(GVA, 2) + 8;
    track(gpa, 8);
    track(gpa, 8);
    guest.fault(GVA, PRESENT_WRITE);
    track(gpa, 8);
    track(gpa, 8);
    expect([levels(), guest.statistic("mmu_flooded")]).toEqual([4, 0]);
  });

  it("so does a refused write through the table", () => {
    const { guest, tables, track, levels } = guestWithPages();
    const other = 0x1000;
    tables.map(other, 301, LEAF);
    tables.map(GVA + 0x4000, tables.tableGfn(other, 2), LEAF);
    guest.fault(other, WRITE);
    guest.fault(GVA + 0x4000, 0);
    const gpa = tables.entry(GVA, 2) + 8;
    track(gpa, 8);
    track(gpa, 8);
    expect(guest.fault(GVA + 0x4000, PRESENT_WRITE).ret).toBe(RetPf.emulate);
    track(gpa, 8);
    track(gpa, 8);
    expect([levels(), guest.statistic("mmu_flooded")]).toEqual([4, 0]);
  });

  it("tables of 4 KiB entries are never flooded", () => {
    const { guest, tables, track, levels } = guestWithPages();
    for (let write = 0; write < 10; write++) track(tables.entry(GVA, 1), 8);
    expect([levels(), guest.statistic("mmu_flooded")]).toEqual([4, 0]);
  });

  it("without shadowed tables it does not take the lock", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    guest.load(longMode());
    guest.fault(0x5000, WRITE);
    kvmMmuTrackWrite(guest.mmu, guest.cpu, 0x5000, 8);
    expect(guest.statistic("mmu_pte_write")).toBe(0);
  });

  it.each([
    [linux73, 3],
    [linux615, 0],
  ])("$name: nested tables that nothing leads to any more", (ruleSet, reclaimed) => {
    const guest = new ShadowGuest({ mode: "ept", ruleSet });
    const tables = new GuestTables(guest, 4, EPT_RWX | EPT_A);
    tables.map(GVA, DATA, EPT_RWX | EPT_WB | EPT_A | EPT_D);
    guest.inSrcu(() => {
      kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, { eptp: 0x1000 + 6 + (3 << 3) });
    });
    guest.reload();
    guest.fault(GVA, WRITE);
    guest.inSrcu(() => kvmMmuTrackWrite(guest.mmu, guest.cpu, tables.entry(GVA, 4), 8));
    expect(shadowPath(guest, GVA)).toHaveLength(1);
    expect(guest.statistic("mmu_shadow_zapped")).toBe(reclaimed);
    expect(violations(guest)).toEqual([]);
  });
});

describe("a write carried out for the guest", () => {
  it("changes memory, then what is made of it", () => {
    const { guest, tables, write } = guestWithPages();
    const gpa = tables.entry(GVA, 1);
    const value = (BigInt(DATA + 9) << 12n) | LEAF;
    expect(write(gpa, value)).toBe(true);
    expect(guest.peek(gpa)).toBe(value);
    expect(isShadowPresentPte(lastStep(guest, GVA).spte)).toBe(false);
    expect(write(gpa + 4, 0x8000_0000n, 4)).toBe(true);
    expect(guest.peek(gpa)).toBe(value | (1n << 63n));
  });

  it("is refused outside every slot, in a read-only one, and where the host cannot write", () => {
    const { guest, write } = guestWithPages();
    expect(write(0x1_0000_0000, 1n)).toBe(false);
    guest.host.missing.add(7);
    expect(write(0x7000, 1n)).toBe(false);
    guest.setRegion(0, 0, 0, HOST_BASE, 0);
    guest.setRegion(0, 0, 64, HOST_BASE, KVM_MEM_READONLY);
    expect(write(0x6000, 1n)).toBe(false);
    expect(guest.peek(0x6000)).toBe(0n);
  });

  it("is logged", () => {
    const { guest, write } = guestWithPages();
    guest.setRegion(0, 0, 4096, HOST_BASE, KVM_MEM_LOG_DIRTY_PAGES);
    write(0x6000, 1n);
    const bitmap = guest.cpu.readOnce(slotDirtyBitmap(guest.cpu, guest.slot));
    expect(bitmap & (1n << 6n)).toBe(1n << 6n);
  });

  it("stores first, has its barrier, then looks whether any table is shadowed", () => {
    const { guest, tables } = guestWithPages();
    const gpa = tables.entry(GVA, 1);
    const steps: string[] = [];
    class Watching extends ForwardingCpu {
      override writeOnce(address: never, value: bigint): void {
        if (address === guest.wordAt(gpa)) steps.push("store");
        super.writeOnce(address, value);
      }
      override smpMb(): void {
        steps.push("barrier");
        super.smpMb();
      }
      override readOnce32(address: never): number {
        if (address === guest.mmu.indirectShadowPagesWord) steps.push("count");
        return super.readOnce32(address);
      }
    }
    const cpu = new Watching(guest.cpu);
    guest.inSrcu(() => kvmWriteGuestPte(guest.mmu, cpu, guest.vcpu, gpa, 8, 0n));
    expect(steps.slice(0, 3)).toEqual(["store", "barrier", "count"]);
  });
});

describe("unprotecting a gfn", () => {
  it("ends the shadowing of the table there", () => {
    const { guest, tables, levels } = guestWithPages();
    const unprotect = (gfn: number) =>
      guest.inSrcu(() => kvmMmuUnprotectGfn(guest.mmu, guest.cpu, gfn as Gfn));
    expect(unprotect(DATA)).toBe(false);
    expect(unprotect(tables.tableGfn(GVA, 2))).toBe(true);
    expect(levels()).toBe(2);
    expect(unprotect(tables.tableGfn(GVA, 2))).toBe(false);
    expect(violations(guest)).toEqual([]);
  });

  it("of an address remembers it, so that a second fault there is emulated", () => {
    const { guest, tables } = guestWithPages();
    const { mmu, cpu, vcpu } = guest;
    const tableGva = GVA + 0x10_0000;
    tables.map(tableGva, tables.tableGfn(GVA, 2), LEAF);
    const retry = () => guest.inSrcu(() => kvmMmuUnprotectGfnAndRetry(mmu, cpu, vcpu, tableGva + 8, 0));
    const first = guest.fault(tableGva + 8, PRESENT_WRITE);
    expect(first).toMatchObject({ ret: RetPf.emulate, allowRetry: true, guestFault: null });
    expect(retry()).toBe(true);
    expect(guest.fault(tableGva + 8, WRITE).ret).toBe(RetPf.emulate);
    // The fault on the way shadowed the table again: it is on its own path.
    const second = guest.fault(tableGva + 8, PRESENT_WRITE);
    expect(second).toMatchObject({ ret: RetPf.emulate, allowRetry: false });
    expect(violations(guest)).toEqual([]);
  });

  it("is forgotten when another page is protected from a write", () => {
    const { guest, tables } = guestWithPages();
    const { mmu, cpu, vcpu } = guest;
    const window = (page: number, gfn: number) => {
      tables.map(GVA + 0x10_0000 + page * 4096, gfn, LEAF);
      return GVA + 0x10_0000 + page * 4096;
    };
    tables.map(0x1000, 301, LEAF);
    guest.fault(0x1000, WRITE);
    const first = window(0, tables.tableGfn(0x1000, 2));
    const second = window(1, tables.tableGfn(GVA, 2));
    expect(guest.inSrcu(() => kvmMmuUnprotectGfnAndRetry(mmu, cpu, vcpu, first, 0))).toBe(true);
    guest.fault(0x1000, WRITE);
    expect(guest.fault(second, PRESENT_WRITE)).toMatchObject({ ret: RetPf.emulate, allowRetry: true });
    expect(guest.fault(first, PRESENT_WRITE)).toMatchObject({ ret: RetPf.emulate, allowRetry: true });
  });

  it("of an address that the guest cannot write does nothing", () => {
    const { guest, tables } = guestWithPages();
    tables.map(GVA, tables.tableGfn(GVA, 2), P | U | A);
    const { mmu, cpu, vcpu } = guest;
    expect(guest.inSrcu(() => kvmMmuUnprotectGfnAndRetry(mmu, cpu, vcpu, GVA, 0))).toBe(false);
  });

  it("happens by itself when hardware cannot set A or D in a guest's table", () => {
    const guest = new ShadowGuest({ mode: "ept" });
    const { mmu, cpu, vcpu } = guest;
    const tables = new GuestTables(guest, 4, EPT_RWX | EPT_A);
    tables.map(GVA, DATA, EPT_RWX | EPT_WB | EPT_A | EPT_D);
    guest.load(longMode());
    guest.inSrcu(() => kvmInitShadowEptMmu(mmu, cpu, vcpu, { eptp: 0x1000 + 6 + (3 << 3) }));
    guest.reload();
    guest.fault(GVA, WRITE);
    cpu.writeOnce32(vcpu.currentWord, vcpu.rootMmu.address);
    const tableGpa = tables.tableGfn(GVA, 2) * 4096;
    const walkWrite = (1 << 1) | 1;
    const guestPage = 2 ** 33;
    expect(guest.fault(tableGpa, walkWrite + guestPage).ret).toBe(RetPf.retry);
    expect(guest.fault(tableGpa, walkWrite).ret).toBe(RetPf.fixed);
    expect(violations(guest)).toEqual([]);
  });
});
