import { describe, expect, it } from "vitest";
import {
  createSpteFormat,
  describeSpteChange,
  explainSpte,
  formatSpte,
  formatSpteExplanation,
  InvalidSpteTextError,
  linux615,
  makeMmioSpte,
  makeNonleafSpte,
  makePaePdpte,
  type PgLevel,
  parseSpte,
  SHADOW_NONPRESENT_VALUE,
  type SpteFormat,
  toGfn,
  toSpte,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

const pae = createSpteFormat({ mode: "pae" });

function explain(format: SpteFormat, value: bigint, level?: PgLevel) {
  return explainSpte(format, toSpte(value), level);
}

describe("parseSpte", () => {
  it.each([
    ["0x8600000012345b77", 0x8600000012345b77n],
    ["8600000012345B77", 0x8600000012345b77n],
    ["0X8600_0000_1234_5b77", 0x8600000012345b77n],
    ["  0x0\n", 0n],
    ["f", 15n],
    ["ffffffffffffffff", 2n ** 64n - 1n],
  ])("%j", (text, value) => {
    expect(parseSpte(text)).toBe(value);
  });

  it.each(["", "0x", "12g", "0x1ffffffffffffffff", "-1", "1__2", "_1", "1_", "0x0x1", "1.5"])(
    "refuses %j",
    (text) => {
      expect(() => parseSpte(text)).toThrow(InvalidSpteTextError);
      expect(() => parseSpte(text)).toThrow(`${JSON.stringify(text)} is not an SPTE; expected 1 to 16 hex`);
    },
  );

  it("reads back what formatSpte writes", () => {
    expect(formatSpte(toSpte(0x7n))).toBe("0x0000000000000007");
    expect(parseSpte(formatSpte(SHADOW_NONPRESENT_VALUE))).toBe(SHADOW_NONPRESENT_VALUE);
  });
});

describe("explainSpte, kinds", () => {
  it.each([
    ["leaf", v73.eptAd, 0x80a0000012345f77n, 1],
    ["leaf", v73.eptAd, 0x80a0000012345f77n, undefined],
    ["leaf", v73.eptNoAd, 0xd0f0000012345a70n, undefined],
    ["leaf", v73.eptAd, 0x80a0000040000ff7n, undefined],
    ["non-leaf", v73.eptAd, 0x8000000123456d07n, undefined],
    ["non-leaf", v73.eptAd, 0x8000000123456d07n, 2],
    ["leaf", v73.eptAd, 0x8000000123456d07n, 1],
    ["mmio", v73.eptAd, 0x24600000fee0022en, 1],
    ["frozen", v73.eptAd, 0x80000000000001a0n, 1],
    ["frozen", v615.eptAd, 0x80000000000005a0n, 1],
    ["non-present", v615.eptAd, 0x80000000000001a0n, 1],
    ["non-present", v73.eptAd, SHADOW_NONPRESENT_VALUE, 1],
    ["pdpte", pae, makePaePdpte(pae, 0x123456000n, false), 3],
    ["non-present", pae, 0n, 3],
    ["non-leaf", pae, makeNonleafSpte(pae, 0x123456000n, false), 2],
  ] as const)("%s %#", (kind, format, value, level) => {
    expect(explain(format, value, level).kind).toBe(kind);
  });
});

describe("explainSpte, states", () => {
  const dirtyLogged = "write-protected for dirty logging (may be made writable without mmu_lock)";
  const atomic = "needs atomic update";
  it.each([
    ["writable", v615.eptAd, 0x8600000012345b77n, ["young", "writable"]],
    ["dirty-logged", v615.eptAd, 0x8600000012345b75n, ["young", dirtyLogged, atomic]],
    ["aged", v73.eptAd, 0x80a0000012345e77n, ["aged", "writable"]],
    [
      "access-tracked",
      v73.eptNoAd,
      0xd0f0000012345a70n,
      [
        "aged",
        "access-tracked",
        "not writable while access-tracked (may be made writable without mmu_lock)",
        "dirty logging write-protects",
        atomic,
      ],
    ],
    [
      "shadowed",
      v615.npt,
      0x0000000012345a25n,
      [
        "young",
        "write-protected: the guest's permission is missing or the gfn holds a shadowed guest page table",
      ],
    ],
    ["host read-only", v615.npt, 0x0000000012345825n, ["young", "read-only in the host"]],
    [
      "D cleared",
      v615.npt,
      0x0000000012345e27n,
      ["young", "writable", "clean while writable: the CPU may set D at any time", atomic],
    ],
    [
      "broken",
      v615.npt,
      0x0000000012345827n,
      [
        "young",
        "breaks the writability invariants",
        "clean while writable: the CPU may set D at any time",
        atomic,
      ],
    ],
    ["non-present", v615.npt, 0x8000000000000000n, []],
    ["stray", v615.npt, 0x0000000000000020n, ["not a value KVM writes"]],
    ["dangerous", v615.eptAd, 0n, ["could raise #VE in the guest: must never be stored"]],
    [
      "frozen",
      v73.eptAd,
      0x80000000000001a0n,
      ["one thread is replacing this entry; nobody else may touch it"],
    ],
    [
      "MMIO",
      v73.eptAd,
      0x24600000fee0022en,
      ["no memslot for gfn 0xfee00", "valid while the memslot generation is 0x12345 modulo its width"],
    ],
    ["PDPTE", pae, 0x123456001n, []],
  ] as const)("%s", (name, format, value, states) => {
    const level = name === "PDPTE" ? 3 : 1;
    expect(explain(format, value, level).states).toEqual(states);
  });
});

describe("explainSpte, fields", () => {
  function field(format: SpteFormat, value: bigint, name: string, level?: PgLevel) {
    return explain(format, value, level).fields.find((candidate) => candidate.name === name);
  }

  it.each([
    ["pfn", "51:12", 0x12345n, "host-physical address 0x12345000"],
    ["memory type", "5:3", 6n, "write back"],
    ["A/D type", "61:60", 1n, "KVM maintains A and D in software"],
    ["saved XU", "62", 1n, "XU returns on restore"],
    ["saved R", "52", 1n, "R returns on restore"],
    ["Host-writable", "53", 1n, "the host mapping allows writes"],
    ["A", "8", 0n, "not used since last aged"],
  ])("access-tracked 7.3 entry: %s", (name, bits, value, meaning) => {
    expect(field(v73.eptNoAd, 0xd0f0000012345a70n, name, 1)).toEqual({ bits, name, value, meaning });
  });

  it.each([
    [0x8600000012345b77n, "the CPU maintains A and D"],
    [0x8620000012345b77n, "the CPU maintains A and D; dirty logging write-protects"],
    [0x8630000012345b77n, "not a value KVM writes"],
  ])("A/D type of %s", (value, meaning) => {
    expect(field(v615.eptAd, value, "A/D type", 1)?.meaning).toBe(meaning);
  });

  it("6.15 has no user-execute bit, and says so of a stray bit", () => {
    expect(field(v615.eptAd, 0x8600000012345b77n, "XU", 1)).toBeUndefined();
    const stray = field(v615.eptAd, 0x8600000012345f77n, "other bits", 1);
    expect(stray?.meaning).toBe("no meaning in this format");
  });

  it("shows the L1TF parts of an MMIO entry", () => {
    const l1tf = createSpteFormat({ mode: "ept", ruleSet: linux615, l1tf: true });
    const spte = makeMmioSpte(l1tf, toGfn(0xa00fee00), 0, 0x12345n);
    expect(spte).toBe(0x12317e00fee0022en);
    expect(field(l1tf, spte, "gfn, low part")).toMatchObject({ bits: "40:12", value: 0xfee00n });
    expect(field(l1tf, spte, "gfn, high part")).toMatchObject({ bits: "50:46", value: 5n });
    expect(field(l1tf, spte, "L1TF guard")).toMatchObject({ bits: "45:41", value: 31n });
    expect(field(l1tf, spte, "generation, high part")).toMatchObject({ bits: "62:52", value: 0x123n });
    expect(field(l1tf, spte, "generation, low part")).toMatchObject({ bits: "10:3", value: 0x45n });
  });

  it("reads cached access, encryption and PDPTE bits", () => {
    expect(field(v73.npt, 0x24680000fee0022fn, "access", 1)).toMatchObject({ bits: "2:1", value: 3n });
    const sme = createSpteFormat({ mode: "npt", maxPhyAddr: 48, physBits: 43, encryptionBit: 47 });
    expect(field(sme, 0x800012345e67n, "C", 1)?.meaning).toBe("encrypted memory");
    expect(field(pae, 0x123456027n, "U", 3)?.value).toBe(1n);
    expect(field(pae, 0x123456027n, "pfn", 3)?.meaning).toContain(
      "page directory at host-physical address 0x123456000",
    );
  });
});

describe("formatSpteExplanation", () => {
  it("writes one line per field and state", () => {
    expect(formatSpteExplanation(explain(pae, 0x123456001n, 3))).toBe(
      [
        "0x0000000123456001: pdpte at level 3 (pae, linux-7.3)",
        "  51:12  pfn  0x123456  page directory at host-physical address 0x123456000",
        "      5  A    0x0       clear",
        "      2  U    0x0       clear",
        "      1  W    0x0       clear",
        "      0  P    0x1       present",
      ].join("\n"),
    );
  });

  it("leaves the level out when it is not known", () => {
    expect(formatSpteExplanation(explain(v73.eptAd, 0x80000000000001a0n))).toBe(
      [
        "0x80000000000001a0: frozen (ept, linux-7.3)",
        "  63:0  value  0x80000000000001a0  read as a whole",
        "  - one thread is replacing this entry; nobody else may touch it",
      ].join("\n"),
    );
  });
});

describe("describeSpteChange", () => {
  const names = (format: SpteFormat, before: bigint, after: bigint, level?: PgLevel) =>
    describeSpteChange(format, toSpte(before), toSpte(after), level).map(({ name }) => name);

  it("names the fields that aging changed, from the top", () => {
    expect(names(v73.eptNoAd, 0x90a0000012345f77n, 0xd0f0000012345a70n, 1)).toEqual([
      "saved XU",
      "saved X",
      "saved R",
      "XU",
      "A",
      "X",
      "W",
      "R",
    ]);
  });

  it("says what both values mean", () => {
    const [change] = describeSpteChange(
      v73.eptAd,
      toSpte(0x80a0000012345f77n),
      toSpte(0x80a0000012345e77n),
      1,
    );
    expect(change).toEqual({
      bits: "8",
      name: "A",
      before: 1n,
      after: 0n,
      meaning: "used since last aged -> not used since last aged",
    });
  });

  it("reports a change of kind alone when nothing can be compared", () => {
    expect(describeSpteChange(v73.eptAd, toSpte(0x80a0000012345f77n), SHADOW_NONPRESENT_VALUE, 1)).toEqual([
      {
        bits: "63:0",
        name: "kind",
        before: 0x80a0000012345f77n,
        after: SHADOW_NONPRESENT_VALUE,
        meaning: "leaf -> non-present",
      },
    ]);
  });

  it("reports both when a huge leaf becomes a table", () => {
    const changed = names(v73.eptAd, 0x80a0000040000ff7n, 0x8000000123456d07n, 2);
    expect(changed[0]).toBe("kind");
    expect(changed).toContain("page size");
    expect(changed).toContain("pfn");
  });

  it("compares MMIO entries by their own fields", () => {
    expect(names(v73.eptAd, 0x24600000fee0022en, 0x24600000fee00236n, 1)).toEqual(["generation, low part"]);
  });
});
