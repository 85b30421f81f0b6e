import { memberModeWord, OUTSIDE_GUEST_MODE } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  attachVcpu,
  GuestAddressRangeError,
  type GuestPagingState,
  InvalidGuestPagingError,
  MisalignedGuestAccessError,
  PAGING_OFF,
  readGuestPaging,
} from "../src/index.js";
import { GuestTables } from "./support/guest-tables.js";
import { gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

const long: GuestPagingState = {
  mode: "4-level",
  cr3: 0x1000,
  cr0Wp: true,
  eferNx: true,
  cr4Smep: true,
  cr4Smap: false,
  cr4Pcide: true,
  pcid: 4095,
};

describe("the registers", () => {
  it("start with paging off and are read back, by another thread as well", () => {
    const rig = new Rig("npt");
    const vcpu = rig.vcpu();
    expect(vcpu.guestPaging(rig.cpu)).toEqual(PAGING_OFF);
    vcpu.setGuestPaging(rig.cpu, long);
    expect(readGuestPaging(rig.cpu, structuredClone(vcpu.handle))).toEqual(long);
    vcpu.setGuestPaging(rig.cpu, { ...PAGING_OFF, mode: "pae", cr3: 0xffff_ffe0, cr4Smap: true });
    const again = attachVcpu(rig.machine, structuredClone(vcpu.handle), { mmu: rig });
    expect(again.guestPaging(rig.cpu)).toEqual({
      ...PAGING_OFF,
      mode: "pae",
      cr3: 0xffff_ffe0,
      cr4Smap: true,
    });
  });

  it.each<[string, Partial<GuestPagingState>]>([
    ["an unknown mode", { mode: "3-level" as "pae" }],
    ["PCIDs without long mode", { mode: "pae" }],
    ["PCIDs without paging", { mode: "none" }],
    ["a PCID without CR4.PCIDE", { cr4Pcide: false }],
    ["a PCID of 13 bits", { pcid: 4096 }],
    ["a negative PCID", { pcid: -1 }],
    ["a misaligned root", { cr3: 0x1010 }],
    ["a root beyond MAXPHYADDR", { cr3: 2 ** 46 }],
    ["no number", { cr3: Number.NaN }],
    ["a PAE root beyond 4 GiB", { mode: "pae", cr4Pcide: false, pcid: 0, cr3: 2 ** 32 }],
    ["a PAE root at 16 bytes", { mode: "pae", cr4Pcide: false, pcid: 0, cr3: 0x1010 }],
  ])("refuse %s, and keep what they had", (_what, change) => {
    const rig = new Rig("ept");
    const vcpu = rig.vcpu();
    expect(() => vcpu.setGuestPaging(rig.cpu, { ...long, ...change })).toThrow(InvalidGuestPagingError);
    expect(() => vcpu.enterL2(rig.cpu, { ...long, ...change })).toThrow(InvalidGuestPagingError);
    expect(vcpu.guestPaging(rig.cpu)).toEqual(PAGING_OFF);
    expect(vcpu.isGuestMode(rig.cpu)).toBe(false);
  });

  it("refuse what a MOV to CR3 cannot load", () => {
    const rig = new Rig("ept");
    const vcpu = rig.vcpu();
    vcpu.setGuestPaging(rig.cpu, { ...long, cr4Pcide: false, pcid: 0 });
    for (const load of [
      () => vcpu.loadCr3(rig.cpu, 0x2000, { noFlush: true }),
      () => vcpu.loadCr3(rig.cpu, 0x2000, { pcid: 1 }),
      () => vcpu.loadCr3(rig.cpu, 0x2001),
    ])
      expect(load).toThrow(InvalidGuestPagingError);
    expect(vcpu.guestPaging(rig.cpu).cr3).toBe(0x1000);
  });

  it("know five levels over shadow tables only if the processor has them", () => {
    const five = { ...long, mode: "5-level" as const };
    for (const [rig, allowed] of [
      [new Rig("shadow"), false],
      [new Rig("shadow", 5), true],
      [new Rig("npt"), true],
    ] as const) {
      const set = (): void => rig.vcpu().setGuestPaging(rig.cpu, five);
      if (allowed) set();
      else expect(set).toThrow(/at most 4-level/);
    }
  });
});

describe("the nested guest", () => {
  it("has registers and translations of its own, and finds them again", () => {
    const rig = new Rig("ept");
    const { cpu } = rig;
    const l1 = new GuestTables(rig, "4-level", 0x100);
    const l2 = new GuestTables(rig, "pae", 0x200);
    for (const gfn of [0x500, 0x501]) rig.map(gfn, 0x100000 + gfn);
    l1.map(0x5000, 0x500);
    l2.map(0x5000, 0x501);
    const vcpu = rig.vcpu();
    vcpu.setGuestPaging(cpu, l1.state());
    const access = (): number => vcpu.access(cpu, 0x5000, "read");
    expect(access()).toBe(0x100500);
    vcpu.enterL2(cpu, l2.state());
    expect(vcpu.isGuestMode(cpu)).toBe(true);
    expect(cpu.readOnce32(memberModeWord(rig.flushDomain, 0))).toBe(OUTSIDE_GUEST_MODE);
    expect(access()).toBe(0x100501);
    expect(vcpu.guestPaging(cpu)).toMatchObject({ mode: "pae", cr3: l2.cr3 });
    vcpu.exitL2(cpu);
    expect(access()).toBe(0x100500);
    expect(vcpu.guestPaging(cpu)).toMatchObject({ mode: "4-level", cr3: l1.cr3 });
    const { misses } = vcpu.statistics(cpu);
    vcpu.enterL2(cpu);
    expect(access()).toBe(0x100501);
    vcpu.enterL2(cpu, l2.state());
    expect(access()).toBe(0x100501);
    expect(vcpu.statistics(cpu).misses).toBe(misses);
    // Other controls are not what was cached under the old ones; L1's translations stay.
    vcpu.enterL2(cpu, l2.state({ cr4Smep: true }));
    access();
    expect(vcpu.statistics(cpu).misses).toBe(misses + 1);
    vcpu.flushGuestTlb(cpu);
    vcpu.exitL2(cpu);
    access();
    expect(vcpu.statistics(cpu).misses).toBe(misses + 1);
  });
});

describe("loads and stores", () => {
  it("reach the bytes of frames that have some", () => {
    const rig = new Rig("ept");
    const { cpu } = rig;
    const tables = new GuestTables(rig);
    const data = tables.page();
    rig.map(0x500, 0x100500);
    tables.map(0x5000, data / 4096);
    tables.map(0x6000, 0x500);
    const vcpu = rig.vcpu();
    vcpu.setGuestPaging(cpu, tables.state());
    expect(vcpu.store(cpu, 0x5ff8, 0xdeadbeef_12345678n, "user-write")).toBe(tables.wordAt(data) / 4096);
    expect(cpu.readOnce(tables.wordAt(data + 0xff8))).toBe(0xdeadbeef_12345678n);
    expect(vcpu.load(cpu, 0x5ff8, "user-read")).toBe(0xdeadbeef_12345678n);
    expect(vcpu.compareExchange(cpu, 0x5ff8, 1n, 2n)).toBe(0xdeadbeef_12345678n);
    expect(vcpu.compareExchange(cpu, 0x5ff8, 0xdeadbeef_12345678n, 2n)).toBe(0xdeadbeef_12345678n);
    expect(vcpu.load(cpu, 0x5ff8)).toBe(2n);
    expect(vcpu.store(cpu, 0x6000, 7n)).toBe(0x100500);
    expect(vcpu.load(cpu, 0x6000)).toBe(0n);
    expect(vcpu.compareExchange(cpu, 0x6000, 0n, 7n)).toBe(0n);
    expect(() => vcpu.load(cpu, 0x5004)).toThrow(MisalignedGuestAccessError);
    expect(() => vcpu.store(cpu, 0x5001, 0n)).toThrow(MisalignedGuestAccessError);
  });

  it("say when the access failed, and leave the memory alone", () => {
    const rig = new Rig("npt");
    const { cpu } = rig;
    const frame = rig.machine.frames.allocateFrame(cpu, 5n);
    rig.map(1, frame / 4096, 1, LEAF_BITS.npt & ~2n);
    const vcpu = rig.vcpu();
    expect(vcpu.load(cpu, gpaOf(1))).toBe(5n);
    expect(vcpu.store(cpu, gpaOf(1), 6n)).toBe(-1);
    expect(vcpu.compareExchange(cpu, gpaOf(1), 5n, 6n)).toBe(null);
    expect(vcpu.load(cpu, gpaOf(2))).toBe(null);
    expect(cpu.readOnce(frame)).toBe(5n);
    expect(() => vcpu.load(cpu, 2 ** 48)).toThrow(GuestAddressRangeError);
  });

  it("let a guest edit its own tables, whose flags it then finds", () => {
    const rig = new Rig("ept");
    const { cpu } = rig;
    const tables = new GuestTables(rig);
    rig.map(0x500, 0x100500);
    tables.map(0x5000, 0x500);
    // The table of the leaf, mapped where the guest can write it.
    const leaf = tables.entryGpa(0x5000, 1);
    tables.map(0x8000, Math.floor(leaf / 4096));
    const vcpu = rig.vcpu();
    vcpu.setGuestPaging(cpu, tables.state());
    const alias = 0x8000 + (leaf % 4096);
    vcpu.access(cpu, 0x5000, "write");
    expect(vcpu.load(cpu, alias)).toBe(0x500_067n);
    expect(vcpu.compareExchange(cpu, alias, 0x500_007n, 0n)).toBe(0x500_067n);
    expect(vcpu.compareExchange(cpu, alias, 0x500_067n, 0n)).toBe(0x500_067n);
    vcpu.invlpg(cpu, 0x5000);
    expect(vcpu.access(cpu, 0x5000, "read")).toBe(-3);
  });
});

it("an access that does not exist leaves the vCPU outside, where no flusher waits for it", () => {
  const rig = new Rig("ept");
  rig.map(1, 0x100001);
  const vcpu = rig.vcpu();
  vcpu.access(rig.cpu, gpaOf(1), "read");
  expect(() => vcpu.access(rig.cpu, 2 ** 48, "read")).toThrow(GuestAddressRangeError);
  expect(rig.cpu.readOnce32(memberModeWord(rig.flushDomain, 0))).toBe(OUTSIDE_GUEST_MODE);
});
