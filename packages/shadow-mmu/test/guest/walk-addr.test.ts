import { type TraceEvent, traceTo } from "@kvm-age/machine";
import { KVM_MEM_LOG_DIRTY_PAGES, slotDirtyBitmap } from "@kvm-age/memslot";
import { type Gfn, linux73, linux615 } from "@kvm-age/spte";
import { describe, expect, it } from "vitest";
import { gvaToGpa } from "../../src/guest-walk/gva-to-gpa.js";
import { walkAddr } from "../../src/guest-walk/walk-addr.js";
import type { GuestPagingRegisters } from "../../src/role/guest-paging-registers.js";
import { HOST_BASE } from "./kit/byte-host.js";
import { walkableContext } from "./kit/contexts.js";
import { BACKED_PAGES, GuestRig, type GuestRigInit, ROM_GFN, ROM_PAGES } from "./kit/guest-rig.js";
import { A, D, GuestTables, NX, P, PS, U, W } from "./kit/guest-tables.js";

const READ = 0;
const WRITE = 2;
const USER = 4;
const FETCH = 16;

const PAGE = P | W | U | A | D;
const TABLE = P | W | U | A;
const GVA = 0x7f12_3456_7abc;

/** A guest with tables of `levels` whose first is at frame 1, and one page mapped. */
function guest(levels: 3 | 4 | 5, changes: Partial<GuestPagingRegisters> = {}, init: GuestRigInit = {}) {
  const rig = new GuestRig(init);
  const tables = new GuestTables(rig, levels, TABLE);
  const context = walkableContext(rig, { eferLma: levels > 3, cr4La57: levels === 5, ...changes });
  const walk = (addr: number, access: number, cpu = rig.cpu) =>
    walkAddr(rig.mmu, cpu, rig.vcpu, context, addr, access);
  /** A processor loads the PDPTEs. */
  const loadPdptes = () => {
    for (let index = 0; index < 4; index++) {
      rig.cpu.writeOnce(context.pdptrWord(index), rig.peek(0x1000 + index * 8));
    }
  };
  return { rig, tables, context, walk, loadPdptes };
}

describe("finds the page", () => {
  it.each([
    [4, GVA],
    [4, 0],
    [4, 2 ** 47 - 1],
    [5, 2 ** 53 - 1],
    [5, 0x0012_3456_789a_bcde],
  ] as const)("%i levels, 4 KiB", (levels, addr) => {
    const { tables, walk } = guest(levels);
    tables.map(addr, 0x1234, PAGE);
    const found = walk(addr, READ);
    expect(found.fault).toBeNull();
    expect([found.gfn, found.level, found.maxLevel]).toEqual([0x1234, 1, levels]);
    for (let level = 1; level <= levels; level++) {
      expect(found.tableGfn[level]).toBe(tables.tableGfn(addr, level));
    }
  });

  it.each([
    [2, 0x40000, 0x167],
    [3, 0x40000, 0x16789],
  ])("a large page of level %i: offset and frame together", (level, frame, inside) => {
    const { tables, walk } = guest(4);
    const base = 0x10_4000_0000;
    tables.map(base, frame, PAGE | PS, level);
    const found = walk(base + inside * 4096 + 0x123, READ);
    expect([found.fault, found.gfn, found.level]).toEqual([null, frame + inside, level]);
  });

  it("PAE: PDPTEs from the registers, not from memory", () => {
    const { rig, tables, walk, loadPdptes } = guest(3);
    const addr = 0xc123_4567;
    tables.map(addr, 0x1234, PAGE);
    expect(walk(addr, READ).fault).toMatchObject({ errorCode: 0 });
    loadPdptes();
    rig.poke(tables.entry(addr, 3), 0n);
    expect(walk(addr, READ)).toMatchObject({ fault: null, gfn: 0x1234, level: 1, maxLevel: 2 });
    expect(walk(addr - 2 ** 30, READ).fault).toMatchObject({ errorCode: 0, address: addr - 2 ** 30 });
  });

  it("PAE: a 2 MiB page", () => {
    const { tables, walk, loadPdptes } = guest(3);
    tables.map(0x4000_0000, 0x40200, PAGE | PS, 2);
    loadPdptes();
    expect(walk(0x4012_3000, READ)).toMatchObject({ fault: null, gfn: 0x40323, level: 2, maxLevel: 2 });
  });

  it("by the root's frame alone: flag bits of CR3 do not count", () => {
    const { tables, walk } = guest(4, { cr3: 0x1fff });
    tables.map(GVA, 0x1234, PAGE);
    expect(walk(GVA, READ).gfn).toBe(0x1234);
  });

  it("translates whole addresses", () => {
    const { rig, tables } = guest(4);
    tables.map(GVA, 0x1234, PAGE);
    expect(gvaToGpa(rig.mmu, rig.cpu, rig.vcpu, GVA, READ)).toBe(0x1234abc);
    expect(gvaToGpa(rig.mmu, rig.cpu, rig.vcpu, GVA + 4096, WRITE)).toMatchObject({ errorCode: WRITE });
  });
});

describe("access bits", () => {
  it.each([linux73, linux615])("$name: what is allowed on all levels together, and above each", (rules) => {
    const { rig, tables, walk } = guest(4, {}, { ruleSet: rules });
    const { accReadMask: R, accWriteMask, accUserMask, accExecMask, accAll } = rules;
    tables.map(GVA, 0x1234, P | U | A | D);
    rig.poke(tables.entry(GVA, 3), rig.peek(tables.entry(GVA, 3)) & ~U);
    rig.poke(tables.entry(GVA, 2), rig.peek(tables.entry(GVA, 2)) | NX);
    const found = walk(GVA, READ);
    expect(found.pteAccess).toBe(R);
    expect(found.ptAccess.slice(1, 5)).toEqual([
      R | accWriteMask,
      R | accWriteMask | accExecMask,
      accAll,
      accAll,
    ]);
    expect(accUserMask & found.ptAccess[2]!).toBe(0);
  });

  it("a clean page is not writable until it is written", () => {
    const { rig, tables, walk } = guest(4);
    tables.map(GVA, 0x1234, P | W | A);
    const { accWriteMask } = rig.format.rules;
    expect(walk(GVA, READ).pteAccess & accWriteMask).toBe(0);
    expect(rig.peek(tables.entry(GVA, 1)) & D).toBe(0n);
    expect(walk(GVA, WRITE).pteAccess & accWriteMask).toBe(accWriteMask);
    expect(rig.peek(tables.entry(GVA, 1)) & D).toBe(D);
    expect(walk(GVA, READ).pteAccess & accWriteMask).toBe(accWriteMask);
  });
});

describe("Accessed and Dirty", () => {
  const bits = (rig: GuestRig, tables: GuestTables, addr: number) =>
    [1, 2, 3, 4].map((level) => rig.peek(tables.entry(addr, level)) & (A | D));

  it("a read sets A everywhere, a write D in the leaf only", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P | W);
    walk(GVA, READ);
    expect(bits(rig, tables, GVA)).toEqual([A, A, A, A]);
    walk(GVA, WRITE);
    expect(bits(rig, tables, GVA)).toEqual([A | D, A, A, A]);
  });

  it("the result has the entries as they are then", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P | W);
    const found = walk(GVA, WRITE);
    for (const level of [1, 2, 3, 4]) expect(found.ptes[level]).toBe(rig.peek(tables.entry(GVA, level)));
  });

  it("an access that faults sets nothing", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P);
    expect(walk(GVA, WRITE).fault).toMatchObject({ errorCode: WRITE | 1 });
    expect(bits(rig, tables, GVA)).toEqual([0n, 0n, 0n, 0n]);
  });

  it("a supervisor write without WP dirties a page without W", () => {
    const { rig, walk } = guest(4, { cr0Wp: false });
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P);
    expect(walk(GVA, WRITE).fault).toBeNull();
    expect(bits(rig, tables, GVA)[0]).toBe(A | D);
  });

  it("large pages get D at their own level", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(2 ** 30, 0x40000, P | W | PS, 3);
    walk(2 ** 30, WRITE);
    expect([3, 4].map((level) => rig.peek(tables.entry(2 ** 30, level)) & (A | D))).toEqual([A | D, A]);
  });

  it("tables in a read-only slot are used as they are", () => {
    const { rig } = guest(4);
    const rom = BACKED_PAGES - ROM_PAGES;
    const tables = new GuestTables(rig, 4, P | W | U, rom);
    tables.map(GVA, 0x1234, P | W);
    // The same bytes, by their read-only address: every table names the next one in the read-only slot.
    for (const level of [4, 3, 2]) {
      const gpa = tables.entry(GVA, level);
      const moved = rig.peek(gpa) + (BigInt(ROM_GFN - rom) << 12n);
      rig.poke(gpa, moved);
    }
    const context = walkableContext(rig, { cr3: ROM_GFN * 4096 });
    const found = walkAddr(rig.mmu, rig.cpu, rig.vcpu, context, GVA, WRITE);
    expect(found.fault).toBeNull();
    expect(found.pteWritable.slice(1, 5)).toEqual([false, false, false, false]);
    expect([1, 2, 3, 4].map((level) => found.ptes[level]! & (A | D))).toEqual([0n, 0n, 0n, 0n]);
  });

  it("the tables' pages are logged, those only that were written", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P | W);
    const upper = tables.entry(GVA, 4);
    rig.poke(upper, rig.peek(upper) | A);
    rig.setRegion(0, 0, BACKED_PAGES, HOST_BASE, KVM_MEM_LOG_DIRTY_PAGES);
    walk(GVA, WRITE);
    const slot = rig.memslots.gfnToMemslot(rig.cpu, 0, 0 as Gfn);
    const bitmap = rig.cpu.readOnce(slotDirtyBitmap(rig.cpu, slot));
    const written = [3, 2, 1].map((level) => tables.tableGfn(GVA, level));
    expect(bitmap).toBe(written.reduce((bits, gfn) => bits | (1n << BigInt(gfn)), 0n));
  });

  it("memory that cannot be written makes the access fault without P", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P | W);
    rig.host.writable = false;
    expect(walk(GVA, WRITE).fault).toMatchObject({ errorCode: WRITE });
  });
});

describe("guest faults", () => {
  const errorOf = (
    access: number,
    leaf: bigint,
    changes: Partial<GuestPagingRegisters> = {},
    levels: 3 | 4 | 5 = 4,
  ) => {
    const { tables, walk, loadPdptes } = guest(levels, changes);
    const addr = levels === 3 ? 0x1234_5000 : GVA;
    tables.map(addr, 0x1234, leaf);
    if (levels === 3) loadPdptes();
    return walk(addr, access).fault;
  };

  it.each([
    ["read, not present", READ, 0n, {}, 0],
    ["user write, not present", WRITE | USER, W | U, {}, WRITE | USER],
    ["fetch, not present, NX", FETCH, 0n, {}, FETCH],
    ["fetch, not present, neither NX nor SMEP", FETCH, 0n, { eferNx: false }, 0],
    ["fetch, not present, SMEP", FETCH, 0n, { eferNx: false, cr4Smep: true }, FETCH],
    ["user read of a supervisor page", USER, P | W | A, {}, USER | 1],
    ["write without W", WRITE, P | A, {}, WRITE | 1],
    ["fetch from an NX page", FETCH, P | A | NX, {}, FETCH | 1],
    ["supervisor fetch from a user page, SMEP", FETCH, P | U | A, { cr4Smep: true }, FETCH | 1],
    ["supervisor read of a user page, SMAP", READ, P | U | A, { cr4Smap: true }, 1],
    ["NX where there is none", READ, P | A | NX, { eferNx: false }, 9],
    ["an address bit beyond MAXPHYADDR", WRITE, P | W | (1n << 46n), {}, WRITE | 9],
  ])("%s", (_name, access, leaf, changes, errorCode) => {
    const fault = errorOf(access, leaf, changes);
    expect(fault).toEqual({ address: GVA, errorCode, nested: false });
  });

  it.each([
    ["user write without WP", WRITE | USER, P | U | A, { cr0Wp: false }, WRITE | USER | 1],
    ["user read of a user page, SMAP", USER, P | U | A, { cr4Smap: true }, null],
    ["supervisor write without WP", WRITE, P | U | A, { cr0Wp: false }, null],
  ])("%s", (_name, access, leaf, changes, errorCode) => {
    expect(errorOf(access, leaf, changes)?.errorCode ?? null).toBe(errorCode);
  });

  it("reserved bits of each level", () => {
    const rsvd = (level: number, bits: bigint, levels: 4 | 5 = 4, changes = {}) => {
      const { rig, tables, walk } = guest(levels, changes);
      tables.map(GVA, 0, PAGE);
      const gpa = tables.entry(GVA, level);
      rig.poke(gpa, rig.peek(gpa) | bits);
      return walk(GVA, READ).fault?.errorCode ?? null;
    };
    expect(rsvd(5, PS, 5)).toBe(9);
    expect(rsvd(4, PS)).toBe(9);
    expect(rsvd(3, PS | (1n << 13n))).toBe(9);
    expect(rsvd(3, PS | (1n << 29n))).toBe(9);
    expect(rsvd(2, PS | (1n << 20n))).toBe(9);
    expect(rsvd(2, 1n << 46n)).toBe(9);
    expect(rsvd(2, NX, 4, { eferNx: false })).toBe(9);
    // Not reserved: bit 7 of a 4 KiB leaf is PAT, bits 52 to 62 are the guest's.
    expect(rsvd(1, PS)).toBeNull();
    expect(rsvd(1, 0x7ffn << 52n)).toBeNull();
  });

  it("PAE reserves bits 62 to 52", () => {
    expect(errorOf(READ, P | A | (1n << 52n), {}, 3)).toMatchObject({ errorCode: 9 });
    expect(errorOf(READ, P | A | NX, {}, 3)).toBeNull();
  });

  it("a reserved bit wins over missing permission, a missing entry over both", () => {
    expect(errorOf(WRITE | USER, P | (1n << 46n))).toMatchObject({ errorCode: WRITE | USER | 9 });
    expect(errorOf(WRITE | USER, 1n << 46n)).toMatchObject({ errorCode: WRITE | USER });
  });

  it("a table outside every slot, or one that the host cannot read, is a missing entry", () => {
    const { rig, tables, walk } = guest(4);
    tables.map(GVA, 0x1234, PAGE);
    const gpa = tables.entry(GVA, 3);
    const entry = rig.peek(gpa);
    rig.poke(gpa, (0x9999n << 12n) | TABLE);
    expect(walk(GVA, WRITE).fault).toMatchObject({ errorCode: WRITE });
    rig.poke(gpa, entry);
    expect(walk(GVA, WRITE).fault).toBeNull();
    rig.host.missing.add(tables.tableGfn(GVA, 2));
    expect(walk(GVA, WRITE).fault).toMatchObject({ errorCode: WRITE });
  });

  it("a root outside every slot", () => {
    const { walk } = guest(4, { cr3: 0x999_9000 });
    expect(walk(GVA, USER).fault).toEqual({ address: GVA, errorCode: USER, nested: false });
  });

  it("tables that name themselves are walked like any others", () => {
    const { rig, walk } = guest(5);
    for (let index = 0; index < 512; index++) rig.poke(0x1000 + index * 8, 0x1000n | PAGE);
    const found = walk(GVA, WRITE);
    expect([found.fault, found.gfn, found.level]).toEqual([null, 1, 1]);
    expect(found.tableGfn.slice(1)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe("events", () => {
  it("one walk, its entries, the bits that it sets", () => {
    const { rig, walk } = guest(4);
    const tables = new GuestTables(rig, 4, P | W | U);
    tables.map(GVA, 0x1234, P | W);
    const events: TraceEvent[] = [];
    walk(GVA, WRITE, traceTo((_cpu, event) => void events.push(event))(rig.cpu));
    expect(events.map(({ name }) => name)).toEqual([
      "kvm_mmu_pagetable_walk",
      ...Array<string>(4).fill("kvm_mmu_paging_element"),
      ...Array<string>(4).fill("kvm_mmu_set_accessed_bit"),
      "kvm_mmu_set_dirty_bit",
    ]);
    expect(events[0]!.fields).toEqual({ addr: BigInt(GVA), pferr: WRITE });
    expect(events.slice(1, 5).map(({ fields }) => fields.level)).toEqual([4, 3, 2, 1]);
    const gpas = [4, 3, 2, 1, 1].map((level) => tables.entry(GVA, level));
    expect(events.slice(5).map(({ fields }) => fields.gpa)).toEqual(gpas);
  });

  it("a fault ends it with the error code", () => {
    const { rig, walk } = guest(4);
    const events: TraceEvent[] = [];
    walk(GVA, WRITE | USER, traceTo((_cpu, event) => void events.push(event))(rig.cpu));
    expect(events.at(-1)).toEqual({ name: "kvm_mmu_walker_error", fields: { pferr: WRITE | USER } });
  });
});
