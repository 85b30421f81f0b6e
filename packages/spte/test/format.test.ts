import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  defaultRuleSet,
  InvalidMmioAccessMaskError,
  isFrozenSpte,
  kvmMmuResetAllPteMasks,
  kvmMmuSetMeSpteMask,
  kvmMmuSetMmioSpteMask,
  linux73,
  linux615,
  type RuleSet,
  SpteFormatOptionRangeError,
  svmAdjustMmioMask,
  toSpte,
  UnsupportedSpteFormatOptionError,
} from "../src/index.js";
import { masksOut } from "./masks-out.js";
import { readVectorFile, type SetUp } from "./vector-file.js";

const host = {
  maxPhyAddr: 46,
  x86PhysBits: 46,
  x86CacheBits: 46,
  bugL1tf: false,
  smeMeMask: 0n,
  allowMmioCaching: true,
};

describe("kvmMmuResetAllPteMasks", () => {
  it.each([
    [46, 46, false, 0x0n, 0x00003ffffffff000n, 0],
    [46, 46, true, 0x00003e0000000000n, 0x000001fffffff000n, 0],
    [39, 44, true, 0x00000f8000000000n, 0x0000007ffffff000n, 0],
    [48, 48, false, 0x0n, 0x0000fffffffff000n, 0],
    [48, 48, true, 0x0n, 0x0000fffffffff000n, 1],
  ])("physical %i, cache %i, L1TF %s", (x86PhysBits, x86CacheBits, bugL1tf, reserved, lower, warnings) => {
    const format = kvmMmuResetAllPteMasks("shadow", linux73, { ...host, x86PhysBits, x86CacheBits, bugL1tf });
    expect(format.shadowNonpresentOrRsvdMask).toBe(reserved);
    expect(format.shadowNonpresentOrRsvdLowerGfnMask).toBe(lower);
    expect(format.warnings).toBe(warnings);
  });
});

describe("kvmMmuSetMmioSpteMask", () => {
  const plain = createSpteFormat({ mode: "ept", maxPhyAddr: 46 });
  const l1tf = createSpteFormat({ mode: "shadow", maxPhyAddr: 46, l1tf: true });

  it.each([
    ["a value outside its mask", plain, 0x3n, 0x1n],
    ["mask bit 3", plain, 0x1n, 0x9n],
    ["mask bit 11", plain, 0x1n, 0x801n],
    ["mask bit 52", plain, 0x1n, 0x0010000000000001n],
    ["mask bit 62", plain, 0x1n, 0x4000000000000001n],
    ["a value equal to the frozen one under the mask", plain, 1n << 63n, 1n << 63n],
    ["relocated gfn bits", l1tf, 0x000e000000000001n, 0x000e000000000001n],
  ])("refuses %s", (_name, format, value, mask) => {
    const result = kvmMmuSetMmioSpteMask(format, value, mask, 6n);
    expect(result.shadowMmioValue).toBe(0n);
    expect(result.enableMmioCaching).toBe(false);
    expect(result.warnings).toBe(format.warnings + 1);
  });

  it("accepts a value over gfn bits with a warning", () => {
    const result = kvmMmuSetMmioSpteMask(plain, 0x100001n, 0x100001n, 6n);
    expect([result.shadowMmioValue, result.warnings]).toEqual([0x100001n, 1]);
  });

  it("allows bit 10 only where the rule set does", () => {
    const under = (ruleSet: RuleSet) =>
      kvmMmuSetMmioSpteMask(createSpteFormat({ mode: "ept", ruleSet }), 0x401n, 0x401n, 6n).enableMmioCaching;
    expect([under(linux615), under(linux73)]).toEqual([false, true]);
  });

  it("switches caching off with a value of 0, without a warning", () => {
    const result = kvmMmuSetMmioSpteMask(plain, 0n, 7n, 0n);
    expect([result.enableMmioCaching, result.warnings]).toEqual([false, 0]);
  });

  it("throws when the access mask has more than 32 bits", () => {
    const tooWide = () => kvmMmuSetMmioSpteMask(plain, 6n, 7n, 1n << 32n);
    expect(tooWide).toThrow(InvalidMmioAccessMaskError);
    expect(tooWide).toThrow("0x100000000 is outside [0x0, 0xffffffff]");
  });
});

describe("memory encryption", () => {
  it("a value outside its mask is dropped together with the mask", () => {
    const format = kvmMmuSetMeSpteMask(createSpteFormat({ mode: "npt" }), 1n << 47n, 1n << 46n);
    expect([format.shadowMeValue, format.shadowMeMask, format.warnings]).toEqual([0n, 0n, 1]);
  });

  it.each([
    [43, 47, 0x000ff80000000001n],
    [47, 47, 0x000f000000000001n],
    [52, 47, 0n],
  ])("AMD MMIO mask, %i physical bits, C-bit %i", (x86PhysBits, encryptionBit, mask) => {
    const smeMeMask = 1n << BigInt(encryptionBit);
    const start = kvmMmuResetAllPteMasks("npt", linux73, { ...host, maxPhyAddr: 52, x86PhysBits, smeMeMask });
    expect(svmAdjustMmioMask(start).shadowMmioMask).toBe(mask);
  });

  it("the address field leaves the C-bit out", () => {
    const format = createSpteFormat({ mode: "npt", maxPhyAddr: 48, physBits: 43, encryptionBit: 47 });
    expect(format.spteBaseAddrMask).toBe(0x000f7ffffffff000n);
    expect(format.shadowMeValue).toBe(1n << 47n);
  });
});

describe("createSpteFormat", () => {
  it("defaults to today's kernel", () => {
    const format = createSpteFormat({ mode: "ept" });
    expect(format.rules).toBe(defaultRuleSet);
    expect(format.rules).toBe(linux73);
    expect([format.host.maxPhyAddr, createSpteFormat({ mode: "npt" }).host.maxPhyAddr]).toEqual([46, 48]);
    expect(format.warnings).toBe(0);
    expect(Object.isFrozen(format)).toBe(true);
  });

  it("sets up as the recorded module loads did", () => {
    const sets = ["ept-ad1-xo1-p46", "ept-ad0-xo0-p52r46", "npt-p48r43-sme47", "shadow-p46-l1tf46"];
    const { cases } = readVectorFile("linux-6.15", "masks");
    const recorded = sets.map((id) => cases.find(({ config }) => config === id)!);
    const ruleSet = linux615;
    const created = [
      createSpteFormat({ mode: "ept", execOnly: true, ruleSet }),
      createSpteFormat({ mode: "ept", adBits: false, maxPhyAddr: 52, physBits: 46, ruleSet }),
      createSpteFormat({ mode: "npt", maxPhyAddr: 48, physBits: 43, encryptionBit: 47, ruleSet }),
      createSpteFormat({ mode: "shadow", maxPhyAddr: 46, l1tf: true, ruleSet }),
    ];
    expect(created.map(masksOut)).toEqual(recorded.map(({ out }) => out));
    expect(recorded.map((c) => (c.in as SetUp).mode)).toEqual(created.map(({ mode }) => mode));
  });

  it.each([
    [{ mode: "ept", maxPhyAddr: 53 }, "maxPhyAddr 53 is not an integer in [32, 52]"],
    [{ mode: "ept", maxPhyAddr: 45.5 }, "maxPhyAddr 45.5 is not an integer in [32, 52]"],
    [{ mode: "ept", maxPhyAddr: 46, physBits: 47 }, "physBits 47 is not an integer in [32, 46]"],
    [{ mode: "shadow", cacheBits: 20 }, "cacheBits 20 is not an integer in [32, 52]"],
    [{ mode: "npt", encryptionBit: 52 }, "encryptionBit 52 is not an integer in [32, 51]"],
  ] as const)("refuses %o", (options, message) => {
    expect(() => createSpteFormat(options)).toThrow(SpteFormatOptionRangeError);
    expect(() => createSpteFormat(options)).toThrow(message);
  });

  it.each([
    [{ mode: "vtd" as "ept" }, "mode vtd is not possible here; allowed: ept, npt, shadow, pae"],
    [{ mode: "npt", adBits: false }, "adBits false with mode npt"],
    [{ mode: "shadow", execOnly: true }, "execOnly true with mode shadow"],
    [{ mode: "ept", encryptionBit: 47 }, "encryptionBit 47 with mode ept"],
    [
      { mode: "ept", executeControl: true, ruleSet: linux615 },
      "executeControl true with rule set linux-6.15",
    ],
  ] as const)("refuses %o", (options, message) => {
    expect(() => createSpteFormat(options)).toThrow(UnsupportedSpteFormatOptionError);
    expect(() => createSpteFormat(options)).toThrow(message);
  });

  it("takes a third rule set as plain data", () => {
    const ruleSet: RuleSet = {
      ...linux73,
      name: "linux-next",
      frozenSpte: toSpte(0x8000000000000120n),
      eptSpteMmuWritable: 1n << 56n,
    };
    const format = createSpteFormat({ mode: "ept", ruleSet });
    expect(format.shadowMmuWritableMask).toBe(1n << 56n);
    expect(isFrozenSpte(format, toSpte(0x8000000000000120n))).toBe(true);
  });
});
