import {
  createSpteFormat,
  linux73,
  linux615,
  type MmuMode,
  makeNonleafSpte,
  markSpteForAccessTrack,
  parseSpte,
  type RuleSet,
  type Spte,
} from "@kvm-age/spte";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DECODE_MODES, type DecodeInput, decodeSpte } from "../../src/decoding/decode-spte.js";

function readAs(text: string, input: DecodeInput = {}): string[] {
  return decodeSpte(parseSpte(text), input).readings.map((reading) => `${reading.kind}: ${reading.readAs}`);
}

describe("decodeSpte without a mode", () => {
  test.each([
    ["0x80a0000012345f77", ["leaf: ept, linux-7.3"]],
    ["0x90a0000012345f77", ["leaf: ept, linux-7.3"]],
    ["0x0000000012345e67", ["leaf: npt shadow pae, linux-7.3"]],
    ["0x0", ["non-present: npt shadow pae, linux-7.3"]],
    ["0x8000000000000000", ["non-present: ept npt shadow pae, linux-7.3"]],
    ["0x80000000000001a0", ["frozen: ept npt shadow pae, linux-7.3"]],
  ])("reads %s as %j", (text, readings) => {
    expect(readAs(text)).toEqual(readings);
    expect(decodeSpte(parseSpte(text), {}).note).toBeNull();
  });

  test.each([
    ["0x8600000012345b77", "leaf: ept, linux-6.15"],
    ["0x80000000000005a0", "frozen: ept npt shadow pae, linux-6.15"],
  ])("says that %s is of the older kernel", (text, reading) => {
    expect(readAs(text)).toEqual([reading]);
    expect(decodeSpte(parseSpte(text), {}).note).toBe("not a value of linux-7.3; read under linux-6.15");
  });

  test("says when no kernel writes the value, and reads it as ept", () => {
    expect(readAs("0x1")).toEqual(["non-present: ept, linux-7.3"]);
    expect(decodeSpte(parseSpte("1"), {}).note).toContain("not a value that linux-7.3 or linux-6.15 writes");
  });

  test("keeps to the rule set given", () => {
    const decoded = decodeSpte(parseSpte("0x8600000012345b77"), { ruleSet: linux73 });
    expect(decoded.note).toBe("not a value that linux-7.3 writes in any mode; read as ept");
  });

  test("takes options that only ept has as a sign of ept", () => {
    expect(readAs("0x8000000000000000", { adBits: false })).toEqual(["non-present: ept, linux-7.3"]);
  });
});

describe("decodeSpte with a mode", () => {
  test("reads any value in every mode under every rule set", () => {
    const any = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(
        any,
        fc.constantFrom(...DECODE_MODES),
        fc.constantFrom(linux73, linux615),
        (value, mode, ruleSet) => {
          const { readings } = decodeSpte(value as Spte, { mode, ruleSet });
          expect(readings.map((reading) => reading.readAs)).toEqual([`${mode}, ${ruleSet.name}`]);
        },
      ),
    );
  });

  test("finds the mode of entries that KVM makes", () => {
    const modes: readonly (readonly [MmuMode, RuleSet])[] = [
      ["ept", linux73],
      ["ept", linux615],
      ["npt", linux73],
      ["shadow", linux615],
    ];
    for (const [mode, ruleSet] of modes) {
      const format = createSpteFormat({ mode, ruleSet });
      const { readings } = decodeSpte(makeNonleafSpte(format, 0x1234000n, false), { ruleSet });
      expect(readings.some((reading) => reading.kind === "non-leaf" && reading.readAs.includes(mode))).toBe(
        true,
      );
    }
  });

  test("knows access-tracked entries", () => {
    const format = createSpteFormat({ mode: "ept", adBits: false });
    const tracked = markSpteForAccessTrack(format, parseSpte("0x90a0000012345f77"));
    const { readings } = decodeSpte(tracked, { mode: "ept", adBits: false, level: 1 });
    expect(readings[0]!.states).toContain("access-tracked");
  });

  test("refuses A/D-less NPT and impossible address widths", () => {
    expect(() => decodeSpte(parseSpte("0"), { mode: "npt", adBits: false })).toThrow("only with mode ept");
    expect(() => decodeSpte(parseSpte("0"), { mode: "ept", maxPhyAddr: 53 })).toThrow("[32, 52]");
  });
});
