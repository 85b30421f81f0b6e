import { describe, expect, it } from "vitest";
import {
  checkMmioSpte,
  createSpteFormat,
  getMmioSpteGeneration,
  isMmioSpte,
  KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS,
  linux73,
  linux615,
  makeMmioSpte,
  makeMmioSpteWarnings,
  SHADOW_NONPRESENT_VALUE,
  toGfn,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

const l1tf46 = { maxPhyAddr: 46, l1tf: true } as const;
const ept615 = createSpteFormat({ mode: "ept", ruleSet: linux615 });
const ept615L1tf = createSpteFormat({ mode: "ept", ruleSet: linux615, ...l1tf46 });
const ept615L1tf44 = createSpteFormat({
  mode: "ept",
  ruleSet: linux615,
  maxPhyAddr: 39,
  cacheBits: 44,
  l1tf: true,
});
const shadow615 = createSpteFormat({ mode: "shadow", ruleSet: linux615, maxPhyAddr: 46 });
const shadow615L1tf = createSpteFormat({ mode: "shadow", ruleSet: linux615, ...l1tf46 });
const ept73 = createSpteFormat({ mode: "ept", ruleSet: linux73 });
const ept73L1tf = createSpteFormat({ mode: "ept", ruleSet: linux73, ...l1tf46 });
const shadow73 = createSpteFormat({ mode: "shadow", ruleSet: linux73, maxPhyAddr: 46 });

describe("makeMmioSpte", () => {
  it.each([
    ["6.15 EPT", ept615, 0xfee00, 7, 0x12345n, 0x12300000fee0022en],
    ["6.15 EPT, L1TF 46", ept615L1tf, 0xfee00, 7, 0x12345n, 0x12303e00fee0022en],
    ["6.15 EPT, L1TF 46, hidden bits", ept615L1tf, 0xa00fee00, 7, 0x12345n, 0x12317e00fee0022en],
    ["6.15 EPT, L1TF 46, all hidden", ept615L1tf, 0x3e0000000, 7, 0x12345n, 0x1237fe000000022en],
    ["6.15 EPT, L1TF 44", ept615L1tf44, 0x280fee00, 7, 0x12345n, 0x12305f80fee0022en],
    ["6.15 default", shadow615, 0xfee00, 6, 0x12345n, 0x12380000fee0022fn],
    ["6.15 default, read-only", shadow615, 0xfee00, 4, 0n, 0x00080000fee00005n],
    ["6.15 default, L1TF 46", shadow615L1tf, 0x3abcdef00, 6, 0x12345n, 0x123f7ebcdef0022fn],
    ["7.3 EPT", ept73, 0xfee00, 15, 0x12345n, 0x24600000fee0022en],
    ["7.3 EPT, L1TF 46", ept73L1tf, 0xa00fee00, 15, 0x12345n, 0x24617e00fee0022en],
    ["7.3 default", shadow73, 0xfee00, 6, 0x12345n, 0x24680000fee0022fn],
  ])("%s", (_name, format, gfn, access, generation, spte) => {
    expect(makeMmioSpte(format, toGfn(gfn), access, generation)).toBe(spte);
  });

  it.each([
    [v615.eptAd, 0x1n, 0x8n],
    [v615.eptAd, 0xffn, 0x7f8n],
    [v615.eptAd, 0x100n, 0x0010000000000000n],
    [v615.eptAd, 0x7ffffn, 0x7ff00000000007f8n],
    [v615.eptAd, 0x80000n, 0n],
    [v73.eptAd, 0x1n, 0x8n],
    [v73.eptAd, 0x7fn, 0x3f8n],
    [v73.eptAd, 0x80n, 0x0010000000000000n],
    [v73.eptAd, 0x3ffffn, 0x7ff00000000003f8n],
    [v73.eptAd, 0x40000n, 0n],
  ])("generation field %#", (format, generation, bits) => {
    expect(makeMmioSpte(format, toGfn(0), 0, generation)).toBe(bits | 6n);
  });

  it("warns without MMIO caching where the rule set does", () => {
    const off = { mode: "ept", mmioCaching: false } as const;
    expect(makeMmioSpteWarnings(createSpteFormat({ ...off, ruleSet: linux615 }))).toBe(1);
    expect(makeMmioSpteWarnings(createSpteFormat({ ...off, ruleSet: linux73 }))).toBe(0);
    expect(makeMmioSpteWarnings(ept615)).toBe(0);
  });
});

describe("checkMmioSpte", () => {
  const spte = makeMmioSpte(ept73, toGfn(0xfee00), 0, 0x12345n);

  it("holds while the stored bits of the generation are the same", () => {
    expect(checkMmioSpte(ept73, spte, 0x12345n)).toBe(true);
    expect(checkMmioSpte(ept73, spte, 0x52345n)).toBe(true);
    expect(checkMmioSpte(ept73, spte, 0x12346n)).toBe(false);
  });

  it("never holds while an update is in progress, whose flag is not stored", () => {
    const during = 0x12345n | KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS;
    expect(checkMmioSpte(ept73, spte, during)).toBe(false);
    expect(getMmioSpteGeneration(ept73, makeMmioSpte(ept73, toGfn(1), 0, during))).toBe(0x12345n);
  });

  it("is not asked of the special values", () => {
    expect(isMmioSpte(ept73, spte)).toBe(true);
    expect(isMmioSpte(ept73, SHADOW_NONPRESENT_VALUE)).toBe(false);
    expect(isMmioSpte(ept73, ept73.frozenSpte)).toBe(false);
  });
});
