import { describe, expect, it } from "vitest";
import { ACCESS_EMULATE } from "../src/index.js";
import { ACCESSED, DIRTY, FORMATS, gpaOf, LEAF_BITS, Rig } from "./support/rig.js";

describe.each(FORMATS)("walk of %s", (format) => {
  it.each([
    [1, 0x12345, 0x123456, 0x123456],
    [2, 0x12345, 0x140000, 0x140000 + 0x145],
    [3, 0x12345, 0x180000, 0x180000 + 0x12345],
  ])("finds a leaf at level %i", (level, gfn, pfn, expected) => {
    const rig = new Rig(format);
    const leaf = rig.map(gfn, pfn, level);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(gfn), "read")).toBe(expected);
    expect(vcpu.access(rig.cpu, gpaOf(gfn), "read")).toBe(expected);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ accesses: 2, hits: 1, misses: 1, walks: 1, faults: 0 });
    expect(rig.cpu.readOnce(leaf) & (ACCESSED[format] | DIRTY[format])).toBe(ACCESSED[format]);
  });

  it("walks five levels and frames beyond 32 bits of address", () => {
    const rig = new Rig(format, 5);
    const gfn = 2 ** 40 - 3;
    rig.map(gfn, 0x3_f000_0123);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(gfn), "read")).toBe(0x3_f000_0123);
    expect(vcpu.access(rig.cpu, gpaOf(gfn), "read")).toBe(0x3_f000_0123);
    expect(vcpu.access(rig.cpu, gpaOf(gfn - 2 ** 39), "read")).toBe(ACCESS_EMULATE);
    expect(() => vcpu.access(rig.cpu, 2 ** 52, "read")).toThrow(/not an integer in \[0, 0x10000000000000\)/);
  });

  it("sets Accessed in every entry it uses, Dirty only in the leaf of a write", () => {
    const rig = new Rig(format);
    rig.map(7, 0x100007);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(7), "write");
    for (const level of [4, 3, 2]) {
      const entry = rig.cpu.readOnce(rig.entry(7, level));
      expect(entry & (ACCESSED[format] | DIRTY[format])).toBe(ACCESSED[format]);
    }
    const leaf = rig.cpu.readOnce(rig.entry(7, 1));
    expect(leaf).toBe((0x100007n << 12n) | LEAF_BITS[format] | ACCESSED[format] | DIRTY[format]);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ accessedSet: 4, dirtySet: 1 });
  });

  it("sets Dirty through a clean cached translation, and then no more", () => {
    const rig = new Rig(format);
    const leaf = rig.map(7, 0x100007);
    const vcpu = rig.vcpu();
    vcpu.access(rig.cpu, gpaOf(7), "read");
    vcpu.access(rig.cpu, gpaOf(7), "write");
    expect(rig.cpu.readOnce(leaf) & DIRTY[format]).toBe(DIRTY[format]);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ misses: 2, walks: 2, dirtySet: 1 });
    // A and D cleared without a flush: the TLB does not notice, as the hardware does not.
    rig.cpu.writeOnce(leaf, (0x100007n << 12n) | LEAF_BITS[format]);
    vcpu.access(rig.cpu, gpaOf(7), "write");
    vcpu.access(rig.cpu, gpaOf(7), "read");
    expect(rig.cpu.readOnce(leaf) & (ACCESSED[format] | DIRTY[format])).toBe(0n);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ accesses: 4, misses: 2 });
  });

  it("leaves the leaf of a refused access alone", () => {
    const rig = new Rig(format);
    const leaf = rig.map(7, 0x100007, 1, LEAF_BITS[format] & ~2n);
    const before = rig.cpu.readOnce(leaf);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(7), "write")).toBe(ACCESS_EMULATE);
    expect(rig.cpu.readOnce(leaf)).toBe(before);
    expect(rig.cpu.readOnce(rig.entry(7, 2)) & ACCESSED[format]).toBe(ACCESSED[format]);
  });

  it("allows what all levels allow", () => {
    const rig = new Rig(format);
    rig.map(7, 0x100007);
    const middle = rig.entry(7, 3);
    rig.cpu.writeOnce(middle, rig.cpu.readOnce(middle) & ~2n);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(7), "read")).toBe(0x100007);
    expect(vcpu.access(rig.cpu, gpaOf(7), "fetch")).toBe(0x100007);
    expect(vcpu.access(rig.cpu, gpaOf(7), "write")).toBe(ACCESS_EMULATE);
  });

  it.each([0x8000_0000_0000_0000n, 0x8000_0000_0000_05a0n, 0x8000_0000_0000_01a0n])(
    "takes %x (empty, frozen) for not present",
    (value) => {
      const rig = new Rig(format);
      rig.cpu.writeOnce(rig.entry(7, 1), value);
      const vcpu = rig.vcpu();
      expect(vcpu.access(rig.cpu, gpaOf(7), "read")).toBe(ACCESS_EMULATE);
      expect(vcpu.lastFault(rig.cpu)).toMatchObject({
        kind: "violation",
        errorCode: format === "ept" ? 0x1_0000_0000n : 0x1_0000_0004n,
      });
      expect(rig.cpu.readOnce(rig.entry(7, 1))).toBe(value);
    },
  );

  it("begins again when an entry changes under the walk", () => {
    const rig = new Rig(format);
    const leaf = rig.map(7, 0x100007);
    rig.map(7, 0x100007);
    const moved = (0x100999n << 12n) | LEAF_BITS[format];
    const vcpu = rig.vcpu();
    const { cpu } = rig;
    const cmpxchg = cpu.cmpxchg.bind(cpu);
    // Another processor replaces the leaf between the walk's read and its update.
    cpu.cmpxchg = (address, expected, replacement, order) => {
      if (address === leaf && expected !== moved) cpu.writeOnce(leaf, moved);
      return cmpxchg(address, expected, replacement, order);
    };
    expect(vcpu.access(cpu, gpaOf(7), "write")).toBe(0x100999);
    expect(cpu.readOnce(leaf)).toBe(moved | ACCESSED[format] | DIRTY[format]);
    expect(vcpu.statistics(cpu)).toMatchObject({ misses: 1, walks: 2, accessedSet: 4, dirtySet: 1 });
  });
});

describe("EPT without A/D", () => {
  it("touches no flag and caches writes at once", () => {
    const rig = new Rig("ept");
    const leaf = rig.map(7, 0x100007);
    const before = rig.cpu.readOnce(leaf);
    const vcpu = rig.vcpu({ adEnabled: false });
    vcpu.access(rig.cpu, gpaOf(7), "read");
    vcpu.access(rig.cpu, gpaOf(7), "write");
    expect(rig.cpu.readOnce(leaf)).toBe(before);
    expect(rig.cpu.readOnce(rig.entry(7, 4)) & ACCESSED.ept).toBe(0n);
    expect(vcpu.statistics(rig.cpu)).toMatchObject({ misses: 1, accessedSet: 0, dirtySet: 0 });
  });
});

describe("NPT", () => {
  it("keeps the encryption bit and a large page's PAT bit out of the address", () => {
    const rig = new Rig("npt");
    rig.map(0x201, 0x140000, 2, LEAF_BITS.npt | (1n << 47n) | (1n << 12n));
    const vcpu = rig.vcpu({ encryptionBit: 47 });
    expect(vcpu.access(rig.cpu, gpaOf(0x201), "read")).toBe(0x140001);
  });

  it("does not fetch through NX, nor anything without U", () => {
    const rig = new Rig("npt");
    rig.map(1, 0x100001, 1, LEAF_BITS.npt | (1n << 63n));
    rig.map(2, 0x100002, 1, LEAF_BITS.npt & ~4n);
    const vcpu = rig.vcpu();
    expect(vcpu.access(rig.cpu, gpaOf(1), "read")).toBe(0x100001);
    expect(vcpu.access(rig.cpu, gpaOf(1), "fetch")).toBe(ACCESS_EMULATE);
    expect(vcpu.access(rig.cpu, gpaOf(1), "user-fetch")).toBe(ACCESS_EMULATE);
    expect(vcpu.access(rig.cpu, gpaOf(2), "read")).toBe(ACCESS_EMULATE);
  });
});

describe("mode-based execute control", () => {
  it("tells kernel and user fetches apart only when it is on", () => {
    const rig = new Rig("ept");
    for (const level of [4, 3, 2]) {
      const table = rig.entry(1, level);
      rig.entry(1, 1);
      rig.cpu.writeOnce(table, rig.cpu.readOnce(table) | 0x400n);
    }
    rig.map(1, 0x100001, 1, 0x431n); // R, user X
    rig.map(2, 0x100002, 1, 0x35n); // R, X
    const off = rig.vcpu();
    expect(off.access(rig.cpu, gpaOf(1), "user-fetch")).toBe(ACCESS_EMULATE);
    expect(off.access(rig.cpu, gpaOf(2), "user-fetch")).toBe(0x100002);
    off.exitGuest(rig.cpu);
    const on = rig.vcpu({ modeBasedExecuteControl: true });
    expect(on.access(rig.cpu, gpaOf(1), "user-fetch")).toBe(0x100001);
    expect(on.access(rig.cpu, gpaOf(1), "fetch")).toBe(ACCESS_EMULATE);
    expect(on.lastFault(rig.cpu)).toMatchObject({ hardwareCode: 0x1ccn, errorCode: 0x1_0000_0011n });
    expect(on.access(rig.cpu, gpaOf(2), "fetch")).toBe(0x100002);
    expect(on.access(rig.cpu, gpaOf(2), "user-fetch")).toBe(ACCESS_EMULATE);
    expect(on.lastFault(rig.cpu)).toMatchObject({ hardwareCode: 0x1acn, errorCode: 0x1_0000_0015n });
  });
});
