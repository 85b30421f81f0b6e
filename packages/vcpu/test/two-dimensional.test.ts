import type { Address } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import {
  ACCESS_EMULATE,
  ACCESS_GUEST_PAGE_FAULT,
  type AccessKind,
  GuestLinearAddressError,
  type GuestPagingMode,
  type VcpuInit,
} from "../src/index.js";
import { GUEST_ACCESSED, GUEST_BITS, GUEST_DIRTY, GuestTables } from "./support/guest-tables.js";
import { ACCESSED, DIRTY, FORMATS, LEAF_BITS, Rig } from "./support/rig.js";

const GVA = 0x7654_3000;
const FLAGS = GUEST_ACCESSED | GUEST_DIRTY;

/** A guest with one page at `GVA`, guest frame 0x500, host frame 0x100500. */
function setUp(format: "ept" | "npt", mode: GuestPagingMode = "4-level", init: Partial<VcpuInit> = {}) {
  const rig = new Rig(format);
  const tables = new GuestTables(rig, mode);
  rig.map(0x500, 0x100500);
  const leaf = tables.map(GVA, 0x500);
  const vcpu = rig.vcpu(init);
  vcpu.setGuestPaging(rig.cpu, tables.state());
  return { rig, cpu: rig.cpu, tables, leaf, vcpu };
}

/** Accessed and Dirty of the second-level leaf that maps a guest-physical address. */
function secondLevelFlags(rig: Rig, gpa: number): bigint {
  const flags = ACCESSED[rig.format] | DIRTY[rig.format];
  return rig.cpu.readOnce(rig.entry(Math.floor(gpa / 4096), 1)) & flags;
}

describe.each(FORMATS)("over %s", (format) => {
  const both = ACCESSED[format] | DIRTY[format];

  it.each<GuestPagingMode>(["pae", "4-level", "5-level"])(
    "a %s guest's access goes through both dimensions",
    (mode) => {
      const { cpu, rig, vcpu, tables } = setUp(format, mode);
      expect(vcpu.access(cpu, GVA + 0x123, "user-read")).toBe(0x100500);
      expect(vcpu.access(cpu, GVA, "read")).toBe(0x100500);
      const walked = { accesses: 2, hits: 1, walks: 1, faults: 0, guestPageFaults: 0, guestDirtySet: 0 };
      expect(vcpu.statistics(cpu)).toMatchObject({
        ...walked,
        guestAccessedSet: mode === "5-level" ? 5 : mode === "pae" ? 2 : 4,
      });
      for (let level: number = tables.rootLevel; level >= 1; level--) {
        const flagless = mode === "pae" && level === 3;
        expect(tables.entry(GVA, level) & FLAGS, `level ${level}`).toBe(flagless ? 0n : GUEST_ACCESSED);
        // Reads of guest entries are writes to the second level, but for PDPTEs over EPT.
        const flags = secondLevelFlags(rig, tables.entryGpa(GVA, level));
        expect(flags, `level ${level}`).toBe(flagless && format === "ept" ? ACCESSED[format] : both);
      }
      expect(secondLevelFlags(rig, 0x500_000)).toBe(ACCESSED[format]);
    },
  );

  it("a write sets Dirty in both leaves only, also through a clean cached translation", () => {
    const { cpu, rig, vcpu, tables, leaf } = setUp(format);
    vcpu.access(cpu, GVA, "user-read");
    expect(vcpu.access(cpu, GVA, "user-write")).toBe(0x100500);
    expect(vcpu.access(cpu, GVA, "write")).toBe(0x100500);
    expect(vcpu.statistics(cpu)).toMatchObject({ misses: 2, guestDirtySet: 1 });
    expect(cpu.readOnce(leaf)).toBe(0x500_000n | GUEST_BITS | FLAGS);
    expect(tables.entry(GVA, 2) & FLAGS).toBe(GUEST_ACCESSED);
    expect(secondLevelFlags(rig, 0x500_000)).toBe(both);
  });

  it("what one dimension refuses the other cannot give", () => {
    const { cpu, rig, vcpu, tables } = setUp(format);
    const noExecute = format === "ept" ? LEAF_BITS.ept & ~4n : LEAF_BITS.npt | (1n << 63n);
    rig.map(0x501, 0x100501, 1, noExecute & ~2n);
    tables.map(0x1000, 0x501);
    tables.map(0x2000, 0x500, 1, 0x1n | (1n << 63n));
    const kinds: AccessKind[] = ["read", "user-read", "write", "user-write", "fetch", "user-fetch"];
    expect(kinds.map((kind) => vcpu.access(cpu, 0x1000, kind))).toEqual([
      0x100501,
      0x100501,
      ACCESS_EMULATE,
      ACCESS_EMULATE,
      ACCESS_EMULATE,
      ACCESS_EMULATE,
    ]);
    expect(rig.faults.map(({ gpa }) => gpa)).toEqual([0x501_000, 0x501_000, 0x501_000, 0x501_000]);
    expect(kinds.map((kind) => vcpu.access(cpu, 0x2000, kind))).toEqual([
      0x100500,
      ...Array<number>(5).fill(ACCESS_GUEST_PAGE_FAULT),
    ]);
    expect(rig.faults.length).toBe(4);
  });

  it("the smaller of two page sizes is cached, and INVLPG drops all parts of the guest's page", () => {
    const { cpu, rig, vcpu, tables } = setUp(format);
    // Guest 2M over 4K; guest 4K over 2M; 1G over 1G.
    for (let gfn = 0x800; gfn < 0x804; gfn++) rig.map(gfn, 0x110000 + gfn * 3);
    const large = tables.map(0x4000_0000, 0x800, 2);
    rig.map(0xa00, 0x120000, 2);
    tables.map(0x5000, 0xa07);
    rig.map(2 ** 18, 0x140000, 3);
    tables.map(2 ** 39, 2 ** 18, 3);
    expect(vcpu.access(cpu, 0x4000_1000, "read")).toBe(0x110000 + 0x801 * 3);
    expect(vcpu.access(cpu, 0x4000_2000, "read")).toBe(0x110000 + 0x802 * 3);
    expect(vcpu.access(cpu, 0x5000, "read")).toBe(0x120007);
    expect(vcpu.access(cpu, 2 ** 39 + 0x1234_5000, "read")).toBe(0x140000 + 0x12345);
    expect(vcpu.access(cpu, 2 ** 39 + 0x2345_6000, "read")).toBe(0x140000 + 0x23456);
    expect(vcpu.statistics(cpu)).toMatchObject({ misses: 4 });
    cpu.writeOnce(large, 0n);
    expect(vcpu.access(cpu, 0x4000_1000, "read")).toBe(0x110000 + 0x801 * 3);
    vcpu.invlpg(cpu, 0x4000_2000);
    expect(vcpu.access(cpu, 0x4000_1000, "read")).toBe(ACCESS_GUEST_PAGE_FAULT);
  });

  it("INVLPG drops one page, and leaves its neighbours, if none is in parts", () => {
    const { cpu, rig, vcpu, tables, leaf } = setUp(format);
    rig.map(0xa00, 0x120000, 2);
    const large = tables.map(0x4000_0000, 0xa00, 2);
    for (const gva of [GVA, 0x4000_1000]) vcpu.access(cpu, gva, "read");
    cpu.writeOnce(leaf, 0n);
    cpu.writeOnce(large, 0n);
    vcpu.invlpg(cpu, 0x4000_5000);
    expect(vcpu.access(cpu, GVA, "read")).toBe(0x100500);
    expect(vcpu.access(cpu, 0x4000_1000, "read")).toBe(ACCESS_GUEST_PAGE_FAULT);
    vcpu.invlpg(cpu, GVA);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(() => vcpu.invlpg(cpu, 2 ** 47)).toThrow(GuestLinearAddressError);
  });

  it("a guest's own fault stays inside the guest and sets nothing in the leaf", () => {
    const { cpu, rig, vcpu, tables } = setUp(format);
    const readOnly = tables.map(0x1000, 0x500, 1, 0x5n);
    expect(vcpu.lastGuestFault(cpu)).toBe(null);
    expect(vcpu.access(cpu, 0x1238, "user-write")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(vcpu.lastGuestFault(cpu)).toEqual({ gva: 0x1238, errorCode: 7 });
    expect(cpu.readOnce(readOnly)).toBe(0x500_005n);
    expect(vcpu.access(cpu, 0x2008, "fetch")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(vcpu.lastGuestFault(cpu)).toEqual({ gva: 0x2008, errorCode: 0x10 });
    tables.map(0x3000, 0x500, 1, GUEST_BITS | (1n << 50n));
    expect(vcpu.access(cpu, 0x3000, "read")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(vcpu.lastGuestFault(cpu)).toEqual({ gva: 0x3000, errorCode: 9 });
    expect(vcpu.lastFault(cpu)).toBe(null);
    expect(vcpu.statistics(cpu)).toMatchObject({ faults: 0, guestPageFaults: 3 });
    expect(rig.faults).toEqual([]);
  });

  it("a guest that repairs its entry after a fault needs no flush", () => {
    const { cpu, vcpu, tables } = setUp(format);
    const leaf = tables.map(0x1000, 0x500, 1, 0x5n);
    expect(vcpu.access(cpu, 0x1000, "read")).toBe(0x100500);
    expect(vcpu.access(cpu, 0x1000, "write")).toBe(ACCESS_GUEST_PAGE_FAULT);
    cpu.writeOnce(leaf, (0x500n << 12n) | GUEST_BITS);
    expect(vcpu.access(cpu, 0x1000, "write")).toBe(0x100500);
  });

  it("begins again when a guest entry changes under the walk", () => {
    const { cpu, rig, vcpu, leaf } = setUp(format);
    rig.map(0x501, 0x100501);
    const moved = 0x501_000n | GUEST_BITS;
    const cmpxchg = cpu.cmpxchg.bind(cpu);
    cpu.cmpxchg = (address, expected, replacement, order) => {
      if (address === leaf && expected !== moved) cpu.writeOnce(leaf, moved);
      return cmpxchg(address, expected, replacement, order);
    };
    expect(vcpu.access(cpu, GVA, "write")).toBe(0x100501);
    expect(cpu.readOnce(leaf)).toBe(moved | FLAGS);
    expect(vcpu.statistics(cpu)).toMatchObject({
      misses: 1,
      walks: 2,
      guestAccessedSet: 4,
      guestDirtySet: 1,
    });
  });

  it("a table in memory without bytes reads as 0, and one beyond the second level's span is a violation", () => {
    const { cpu, rig, vcpu, tables } = setUp(format, "4-level", { maxPhyAddr: 52 });
    const upper = tables.wordAt(tables.entryGpa(GVA, 3));
    rig.map(0x600, 0x100600);
    cpu.writeOnce(upper, 0x600_000n | GUEST_BITS);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_GUEST_PAGE_FAULT);
    expect(vcpu.lastGuestFault(cpu)).toMatchObject({ errorCode: 0 });
    // Guest frame 0 is where the address would wrap to.
    rig.map(0, rig.machine.frames.allocateFrame(cpu, 0x500_007n) / 4096);
    cpu.writeOnce(upper, (1n << 48n) | GUEST_BITS);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_EMULATE);
    const index = Math.floor(GVA / 2 ** 21) % 512;
    expect(rig.faults[0]!.gpa).toBe(2 ** 48 + index * 8);
  });

  it.each<[GuestPagingMode, number]>([
    ["pae", 2 ** 32],
    ["4-level", 2 ** 47],
    ["5-level", 2 ** 53],
  ])("a %s guest's addresses end at %d", (mode, limit) => {
    const { cpu, rig, vcpu, tables } = setUp(format, mode);
    expect(() => vcpu.access(cpu, limit, "read")).toThrow(GuestLinearAddressError);
    expect(() => vcpu.access(cpu, -1, "read")).toThrow(
      /guest-linear address -1 is not an integer in \[0, 0x/,
    );
    tables.map(limit - 4096, 0x500);
    // Apart from the last page by the highest bits only.
    const far = limit / 2 - 4096;
    rig.map(0x501, 0x100501);
    tables.map(far, 0x501);
    for (const round of [1, 2]) {
      expect(vcpu.access(cpu, limit - 1, "read"), `round ${round}`).toBe(0x100500);
      expect(vcpu.access(cpu, far, "read"), `round ${round}`).toBe(0x100501);
    }
  });
});

describe("a violation on the way through the guest's tables", () => {
  const cases: [string, "ept" | "npt", Partial<VcpuInit>, bigint, bigint][] = [
    ["EPT with A/D: a read and a write", "ept", {}, 0x83n, 0x2_0000_0002n],
    ["EPT without A/D: a read", "ept", { adEnabled: false }, 0x81n, 0x2_0000_0000n],
    ["NPT: a user write", "npt", {}, 0x2_0000_0006n, 0x2_0000_0006n],
  ];

  it.each(cases)("%s of an absent page, repaired", (_what, format, init, hardwareCode, errorCode) => {
    const { cpu, rig, vcpu, tables } = setUp(format, "4-level", init);
    const gpa = tables.entryGpa(GVA, 2);
    const table = rig.entry(Math.floor(gpa / 4096), 1);
    const mapping = cpu.readOnce(table);
    cpu.writeOnce(table, 0n);
    rig.onFault = () => {
      cpu.writeOnce(table, mapping);
      return "retry";
    };
    expect(vcpu.access(cpu, GVA, "fetch")).toBe(0x100500);
    expect(rig.faults).toEqual([{ gpa, errorCode }]);
    expect(vcpu.lastFault(cpu)).toEqual({ kind: "violation", gpa, hardwareCode, errorCode, errno: null });
  });

  it.each<["ept" | "npt", bigint, bigint]>([
    ["ept", 0xabn, 0x2_0000_0003n],
    ["npt", 0x2_0000_0007n, 0x2_0000_0007n],
  ])("%s: a write-protected table is refused to every walk", (format, hardwareCode, errorCode) => {
    const { cpu, rig, vcpu, tables } = setUp(format);
    const gpa = tables.entryGpa(GVA, 1);
    rig.map(Math.floor(gpa / 4096), tables.wordAt(gpa) >>> 12, 1, LEAF_BITS[format] & ~2n);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_EMULATE);
    expect(vcpu.lastFault(cpu)).toMatchObject({ gpa, hardwareCode, errorCode });
  });

  it("EPT without A/D: a write-protected table is refused only where a flag must be set", () => {
    const { cpu, rig, vcpu, tables, leaf } = setUp("ept", "4-level", { adEnabled: false });
    const gpa = tables.entryGpa(GVA, 1);
    const frame = Math.floor(gpa / 4096);
    const word = tables.wordAt(gpa);
    rig.map(frame, word >>> 12, 1, LEAF_BITS.ept & ~2n);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_EMULATE);
    expect(vcpu.lastFault(cpu)).toMatchObject({ gpa, hardwareCode: 0xaan, errorCode: 0x2_0000_0003n });
    cpu.writeOnce(leaf, cpu.readOnce(leaf) | GUEST_ACCESSED);
    expect(vcpu.access(cpu, GVA, "read")).toBe(0x100500);
    expect(vcpu.access(cpu, GVA, "write")).toBe(ACCESS_EMULATE);
    expect(cpu.readOnce(leaf) & GUEST_DIRTY).toBe(0n);
    rig.map(frame, word >>> 12);
    expect(vcpu.access(cpu, GVA, "write")).toBe(0x100500);
    expect(cpu.readOnce(leaf) & GUEST_DIRTY).toBe(GUEST_DIRTY);
    expect(cpu.readOnce(rig.entry(frame, 1)) & (ACCESSED.ept | DIRTY.ept)).toBe(0n);
  });

  it("EPT: a PDPTE is read", () => {
    const { cpu, rig, vcpu, tables } = setUp("ept", "pae");
    rig.map(tables.cr3 / 4096, 0, 1, 0n);
    expect(vcpu.access(cpu, GVA, "write")).toBe(ACCESS_EMULATE);
    expect(vcpu.lastFault(cpu)).toMatchObject({ gpa: tables.cr3 + 8, hardwareCode: 0x81n });
  });

  it("EPT: a misconfiguration has the entry's address and RSVD alone", () => {
    const { cpu, rig, vcpu, tables } = setUp("ept");
    rig.map(tables.cr3 / 4096, 0x100, 1, 0x6n);
    expect(vcpu.access(cpu, GVA, "read")).toBe(ACCESS_EMULATE);
    expect(rig.faults).toEqual([{ gpa: tables.cr3, errorCode: 8n }]);
  });
});

it("mode-based execute control asks for the address's mode, not the fetcher's", () => {
  const { cpu, rig, vcpu, tables } = setUp("ept", "4-level", { modeBasedExecuteControl: true });
  for (const level of [4, 3, 2]) {
    const entry = rig.entry(0x500, level);
    cpu.writeOnce(entry, cpu.readOnce(entry) | 0x400n);
  }
  rig.map(0x510, 0x100510, 1, 0x431n); // R, user X
  rig.map(0x511, 0x100511, 1, 0x35n); // R, supervisor X
  for (const [gva, gfn, bits] of [
    [0x1000, 0x510, 7n],
    [0x2000, 0x510, 3n],
    [0x3000, 0x511, 7n],
    [0x4000, 0x511, 3n],
  ] as const)
    tables.map(gva, gfn, 1, bits);
  const fetch = (gva: number, kind: AccessKind): number => vcpu.access(cpu, gva, kind);
  expect([fetch(0x1000, "fetch"), fetch(0x1000, "user-fetch")]).toEqual([0x100510, 0x100510]);
  expect(fetch(0x2000, "fetch")).toBe(ACCESS_EMULATE);
  expect(fetch(0x3000, "fetch")).toBe(ACCESS_EMULATE);
  expect(fetch(0x4000, "fetch")).toBe(0x100511);
  expect(fetch(0x4000, "user-fetch")).toBe(ACCESS_GUEST_PAGE_FAULT);
});

it("a flusher is acknowledged before the memory of a table that was walked is taken away", () => {
  const { cpu, rig, vcpu, tables } = setUp("ept");
  vcpu.access(cpu, GVA, "read");
  const gpa = tables.entryGpa(GVA, 1);
  const elsewhere = rig.machine.frames.allocateFrame(cpu);
  vcpu.exitGuest(cpu);
  cpu.writeOnce((elsewhere + (gpa % 4096)) as Address, 0x501_007n);
  rig.map(Math.floor(gpa / 4096), elsewhere / 4096);
  rig.map(0x501, 0x100501);
  expect(vcpu.access(cpu, GVA, "read")).toBe(0x100500);
  vcpu.exitGuest(cpu);
  rig.machine.attach().flushRemoteTlbs(rig.flushDomain, null);
  expect(vcpu.access(cpu, GVA, "read")).toBe(0x100501);
});
