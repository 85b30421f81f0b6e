import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  InvalidPgLevelError,
  isRsvdSpte,
  kvmMmuSetMeSpteMask,
  linux73,
  linux615,
  resetRsvdsBitsMask,
  resetRsvdsBitsMaskEpt,
  resetShadowZeroBitsMask,
  toSpte,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

const HIGH_46 = 0x000fc00000000000n;
const HIGH_48 = 0x000f000000000000n;

describe("EPT", () => {
  const paBitsRsvd = 0xffffc00000000000n;

  it("has the masks and combinations of MAXPHYADDR 46", () => {
    const bits = resetShadowZeroBitsMask(createSpteFormat({ mode: "ept", maxPhyAddr: 46 }), 4);
    const top = HIGH_46 | 0xf8n;
    expect(bits.rsvdBitsMask).toEqual([
      [HIGH_46, HIGH_46 | 0x78n, HIGH_46 | 0x78n, top, top],
      [HIGH_46, HIGH_46 | 0x1ff000n, HIGH_46 | 0x3ffff000n, top, top],
    ]);
    expect(bits.badMtXwr).toBe(0xff545454ffff5454n);
  });

  it("allows execute-only entries where the CPU has them", () => {
    const bits = resetRsvdsBitsMaskEpt({ paBitsRsvd, execOnly: true, hugePageLevel: 3 });
    expect(bits.badMtXwr).toBe(0xff444444ffff4444n);
  });

  it("reserves bit 7 where huge pages do not exist", () => {
    const [small, large] = resetRsvdsBitsMaskEpt({
      paBitsRsvd,
      execOnly: false,
      hugePageLevel: 1,
    }).rsvdBitsMask;
    expect([small[1]! & 0x80n, small[2]! & 0x80n]).toEqual([0x80n, 0x80n]);
    expect([large[1]! & 0x80n, large[2]! & 0x80n]).toEqual([0x80n, 0x80n]);
    const no1G = resetShadowZeroBitsMask(v73.eptAd, 4, false).rsvdBitsMask;
    expect([no1G[0][1]! & 0x80n, no1G[0][2]! & 0x80n]).toEqual([0n, 0x80n]);
  });

  it("leaves key bits to the hardware", () => {
    const keyed = createSpteFormat({ mode: "ept", maxPhyAddr: 46, physBits: 40 });
    const masks = resetShadowZeroBitsMask(kvmMmuSetMeSpteMask(keyed, 0n, HIGH_46), 4).rsvdBitsMask;
    expect(masks[0][0]).toBe(0n);
  });
});

describe("normal page tables", () => {
  const format = createSpteFormat({ mode: "shadow", maxPhyAddr: 48 });

  it.each([
    [4, 0n],
    [5, HIGH_48 | 0x180n],
  ] as const)("root level %i", (rootLevel, level5) => {
    expect(resetShadowZeroBitsMask(format, rootLevel).rsvdBitsMask).toEqual([
      [HIGH_48, HIGH_48, HIGH_48, HIGH_48 | 0x180n, level5],
      [HIGH_48, HIGH_48 | 0x1fe000n, HIGH_48 | 0x3fffe000n, HIGH_48 | 0x180n, level5],
    ]);
  });

  it("PAE", () => {
    const high = 0x7fff000000000000n;
    const bits = resetShadowZeroBitsMask(createSpteFormat({ mode: "pae", maxPhyAddr: 48 }), 3);
    expect(bits.rsvdBitsMask[0].slice(0, 3)).toEqual([high, high, 0xffff0000000001e6n]);
    expect(bits.rsvdBitsMask[1].slice(0, 2)).toEqual([high, high | 0x1fe000n]);
    expect(bits.badMtXwr).toBe(0n);
  });

  it("reserves bit 63 without NX, bit 7 without 1G pages, and bit 8 only on AMD", () => {
    const input = { rootLevel: 4, paBitsRsvd: 0n, nx: false, gbpages: false, amd: false } as const;
    const nx = 1n << 63n;
    expect(resetRsvdsBitsMask(input).rsvdBitsMask[0]).toEqual([nx, nx, nx | 0x80n, nx | 0x80n, 0n]);
    expect(resetRsvdsBitsMask({ ...input, rootLevel: 3 }).rsvdBitsMask[0][0]).toBe(nx);
  });

  it("shadow paging reserves encryption bits other than those every entry carries", () => {
    const encrypted = kvmMmuSetMeSpteMask(format, 1n << 45n, 3n << 45n);
    const masks = resetShadowZeroBitsMask(encrypted, 4).rsvdBitsMask;
    expect(masks[0].slice(0, 4).map((mask) => (mask >> 45n) & 3n)).toEqual([2n, 2n, 2n, 2n]);
    expect(masks[0][4]).toBe(0n);
  });

  it("refuses other root levels", () => {
    expect(() => resetShadowZeroBitsMask(format, 2)).toThrow(InvalidPgLevelError);
    expect(() => resetShadowZeroBitsMask(format, 2)).toThrow("level 2 is not an integer in [3, 5]");
  });
});

describe("isRsvdSpte", () => {
  it.each([linux615, linux73])("$name: access-tracked entries pass, MMIO entries fail", (ruleSet) => {
    const format = createSpteFormat({ mode: "ept", adBits: false, ruleSet });
    const bits = resetShadowZeroBitsMask(format, 4);
    const [tracked, mmio] = ruleSet === linux615 ? [0x8750000012345a70n, 0x6n] : [0xd0f0000012345a70n, 0x6n];
    expect(isRsvdSpte(format, bits, toSpte(tracked), 1)).toBe(false);
    expect(isRsvdSpte(format, bits, toSpte(mmio), 1)).toBe(true);
  });

  it("judges user-execute like execute where the format has it", () => {
    const userExecuteOnly = toSpte(0x8000000012345c70n);
    expect(isRsvdSpte(v73.eptAd, resetShadowZeroBitsMask(v73.eptAd, 4), userExecuteOnly, 1)).toBe(true);
    expect(isRsvdSpte(v615.eptAd, resetShadowZeroBitsMask(v615.eptAd, 4), userExecuteOnly, 1)).toBe(false);
  });

  it("looks at the mask of the level and of bit 7", () => {
    const bits = resetShadowZeroBitsMask(v615.eptAd, 4);
    const misaligned = toSpte(0x8600000040001bf7n);
    expect(isRsvdSpte(v615.eptAd, bits, misaligned, 2)).toBe(true);
    expect(isRsvdSpte(v615.eptAd, bits, toSpte(0x8600000040000bf7n), 2)).toBe(false);
    expect(isRsvdSpte(v615.eptAd, bits, toSpte(0x8600000040000bf7n), 4)).toBe(true);
  });
});
