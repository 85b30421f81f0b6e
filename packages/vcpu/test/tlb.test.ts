import { offset } from "@kvm-age/machine";
import { describe, expect, it } from "vitest";
import { ACCESS_EMULATE, DEFAULT_TLB_GEOMETRY, type TlbGeometry, TlbGeometryError } from "../src/index.js";
import { Tlb, type Translation, tlbBytes } from "../src/tlb/tlb.js";
import { gpaOf, Rig } from "./support/rig.js";

/** Offset of the word with the generation that is given away next. */
const NEXT_GENERATION = 8;

const found = (level: 1 | 2 | 3, permissions: number): Translation => ({
  level,
  permissions,
  fragment: false,
});

const tiny: TlbGeometry = {
  small: { entries: 4, ways: 2 },
  large: { entries: 2, ways: 2 },
  huge: { entries: 1, ways: 1 },
};

/** Accesses each gfn and says which of them missed. */
function missesOf(rig: Rig, vcpu: ReturnType<Rig["vcpu"]>, gfns: readonly number[]): number[] {
  return gfns.filter((gfn) => {
    const before = vcpu.statistics(rig.cpu).misses;
    expect(vcpu.access(rig.cpu, gpaOf(gfn), "read")).toBeGreaterThan(0);
    return vcpu.statistics(rig.cpu).misses > before;
  });
}

describe("reach", () => {
  it("is what the geometry says, for small pages", () => {
    const rig = new Rig("ept");
    for (let gfn = 0; gfn < 1600; gfn++) rig.map(gfn, 0x100000 + gfn);
    const vcpu = rig.vcpu();
    const reach = Array.from({ length: 1536 }, (_, gfn) => gfn);
    expect(missesOf(rig, vcpu, reach).length).toBe(1536);
    expect(missesOf(rig, vcpu, reach)).toEqual([]);
    // One page more in set 0 evicts that set's oldest, gfn 0; round robin then throws out each page before its turn.
    expect(missesOf(rig, vcpu, [1536])).toEqual([1536]);
    expect(missesOf(rig, vcpu, [0])).toEqual([0]);
    expect(missesOf(rig, vcpu, [1, 127, 255, 1535])).toEqual([]);
    expect(missesOf(rig, vcpu, [128])).toEqual([128]);
  });

  it("is 512 times as wide with large pages", () => {
    const rig = new Rig("npt");
    for (let page = 0; page < 1025; page++) rig.map(page * 512, 0x100000 + page * 512, 2);
    const vcpu = rig.vcpu();
    const pages = Array.from({ length: 1024 }, (_, page) => page * 512 + (page % 512));
    expect(missesOf(rig, vcpu, pages).length).toBe(1024);
    expect(missesOf(rig, vcpu, pages)).toEqual([]);
    expect(missesOf(rig, vcpu, [1024 * 512, 0])).toEqual([1024 * 512, 0]);
  });

  it("of the huge array is independent of the others", () => {
    const rig = new Rig("ept");
    rig.map(0, 0x100000, 3);
    rig.map(2 ** 18, 0x140000, 3);
    rig.map(2 ** 19, 0x100000, 2);
    rig.map(2 ** 19 + 512, 0x100200);
    const vcpu = rig.vcpu({ tlb: tiny });
    const four = [5, 2 ** 19 + 7, 2 ** 19 + 512];
    expect(missesOf(rig, vcpu, four)).toEqual(four);
    expect(missesOf(rig, vcpu, four)).toEqual([]);
    expect(missesOf(rig, vcpu, [2 ** 18 + 1, ...four])).toEqual([2 ** 18 + 1, 5]);
  });
});

describe("flush", () => {
  it("empties everything in one step, again and again", () => {
    const rig = new Rig("ept");
    for (let gfn = 0; gfn < 4; gfn++) rig.map(gfn, 0x100000 + gfn);
    const vcpu = rig.vcpu({ tlb: tiny });
    for (let round = 0; round < 3; round++) {
      expect(missesOf(rig, vcpu, [0, 1, 2, 3])).toEqual([0, 1, 2, 3]);
      expect(missesOf(rig, vcpu, [0, 1, 2, 3])).toEqual([]);
      vcpu.flushTlb(rig.cpu);
    }
  });

  it("survives the wrap of the generation", () => {
    const rig = new Rig("ept");
    const control = rig.machine.frames.allocateSpan(rig.cpu, tlbBytes(tiny));
    const tlb = new Tlb(control, tiny);
    tlb.reset(rig.cpu);
    tlb.fill(rig.cpu, 5, 0x100005, found(1, 1));
    // On to the last generation by hand; the entry of generation 1 must not live again after the next two flushes.
    rig.cpu.writeOnce32(offset(control, NEXT_GENERATION), 0x7f_ffff);
    tlb.contexts.dropAll(rig.cpu);
    tlb.fill(rig.cpu, 6, 0x100006, found(1, 1));
    expect(tlb.lookup(rig.cpu, 6, 1)).toBe(0x100006);
    tlb.contexts.dropAll(rig.cpu);
    tlb.fill(rig.cpu, 7, 0x100007, found(1, 1));
    expect([5, 6, 7].map((gfn) => tlb.lookup(rig.cpu, gfn, 1))).toEqual([-1, -1, 0x100007]);
  });
});

describe("entries", () => {
  it("of several sizes for one page live side by side", () => {
    const rig = new Rig("ept");
    const control = rig.machine.frames.allocateSpan(rig.cpu, tlbBytes(tiny));
    const tlb = new Tlb(control, tiny);
    tlb.reset(rig.cpu);
    tlb.fill(rig.cpu, 513, 0x140001, found(2, 3));
    tlb.fill(rig.cpu, 513, 0x150000, found(1, 1));
    expect(tlb.lookup(rig.cpu, 513, 1)).toBe(0x150000);
    expect(tlb.lookup(rig.cpu, 513, 2)).toBe(0x140001);
    tlb.invalidate(rig.cpu, 513);
    expect(tlb.lookup(rig.cpu, 513, 1)).toBe(-1);
    expect(tlb.lookup(rig.cpu, 512, 1)).toBe(-1);
  });

  it("are told apart by all 40 bits of the page number", () => {
    const rig = new Rig("ept", 5);
    rig.map(5, 0x100005);
    rig.map(2 ** 32 + 5, 0x2_0010_0005);
    const vcpu = rig.vcpu();
    expect(missesOf(rig, vcpu, [5, 2 ** 32 + 5])).toEqual([5, 2 ** 32 + 5]);
    expect(missesOf(rig, vcpu, [5, 2 ** 32 + 5])).toEqual([]);
    expect(vcpu.access(rig.cpu, gpaOf(2 ** 32 + 5), "read")).toBe(0x2_0010_0005);
    expect(vcpu.access(rig.cpu, gpaOf(2 ** 33 + 5), "read")).toBe(ACCESS_EMULATE);
  });
});

it.each([
  { entries: 1536, ways: 8 },
  { entries: 0, ways: 1 },
  { entries: 4, ways: 8 },
  { entries: 10, ways: 4 },
  { entries: 2 ** 17, ways: 8 },
])("refuses %o", (small) => {
  const rig = new Rig("ept");
  expect(() => rig.vcpu({ tlb: { ...DEFAULT_TLB_GEOMETRY, small } })).toThrow(TlbGeometryError);
});
