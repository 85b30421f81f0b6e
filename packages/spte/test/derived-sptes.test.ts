import { describe, expect, it } from "vitest";
import {
  ContradictoryProtectionBitsError,
  InvalidPgLevelError,
  InvalidSpteIndexError,
  makeHugeSpte,
  makeRole,
  makeSmallSpte,
  markSpteForAccessTrack,
  modifySpteProtections,
  NotHugeSpteError,
  NotPresentSpteError,
  restoreAccTrackSpte,
  SHADOW_NONPRESENT_VALUE,
  type SpteFormat,
  toSpte,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

function split(format: SpteFormat, spte: bigint, level: 1 | 2, access: number, index: number, nx: boolean) {
  return makeSmallSpte(format, toSpte(spte), makeRole(format.rules, { level, access }), index, nx);
}

describe("makeSmallSpte", () => {
  it.each([
    ["6.15 EPT A/D", v615.eptAd, 0x8600000040000bf3n, 7, 0x8600000040005b77n],
    ["6.15 EPT no-A/D", v615.eptNoAd, 0x8610000040000bf3n, 7, 0x8610000040005b77n],
    ["6.15 NPT", v615.npt, 0x8000000040000ee7n, 7, 0x0000000040005e67n],
    ["6.15 tracked, NX", v615.eptNoAd, 0x8650000040000af0n, 7, 0x8750000040005a70n],
    ["6.15 role without EXEC", v615.eptAd, 0x8600000040000bf7n, 6, 0x8600000040005b77n],
    ["7.3 tracked, NX, role 15", v73.eptNoAd, 0x90b0000040000af0n, 15, 0xd0f0000040005a70n],
    ["7.3 tracked, NX, role 11", v73.eptNoAd, 0x90b0000040000af0n, 11, 0x90f0000040005a70n],
    ["7.3 tracked, NX, role 3", v73.eptNoAd, 0x90b0000040000af0n, 3, 0x90b0000040005a70n],
    ["7.3 NPT, role without EXEC", v73.npt, 0x0000000040000ee7n, 7, 0x8000000040005e67n],
  ])("%s, 2M to 4K with the mitigation", (_name, format, hugeSpte, access, small) => {
    expect(split(format, hugeSpte, 1, access, 5, true)).toBe(small);
  });

  it.each([
    [v615.eptAd, 0x8600000040000bf7n, 0x8600000040600bf7n],
    [v615.eptNoAd, 0x8610000040000bf7n, 0x8610000040600bf7n],
    [v615.npt, 0x0000000040000ee7n, 0x0000000040600ee7n],
  ])("1G to 2M %#", (format, hugeSpte, small) => {
    expect(split(format, hugeSpte, 2, 7, 3, true)).toBe(small);
  });

  it("refuses what is no huge leaf, and a wrong index", () => {
    const role = makeRole(v615.eptAd.rules, { level: 1, access: 7 });
    const notHuge = () => makeSmallSpte(v615.eptAd, toSpte(0x8600000012345b77n), role, 0, false);
    expect(notHuge).toThrow(NotHugeSpteError);
    expect(notHuge).toThrow("0x8600000012345b77");
    const wrongIndex = () => makeSmallSpte(v615.eptAd, toSpte(0x8600000040000bf7n), role, 512, false);
    expect(wrongIndex).toThrow(InvalidSpteIndexError);
    expect(wrongIndex).toThrow("512 is not an integer in [0, 511]");
  });
});

describe("makeHugeSpte", () => {
  it.each([
    [v615.eptAd, 0x8600000040005b77n, false, 0x8600000040000bf7n],
    [v615.eptNoAd, 0x8610000040005b77n, false, 0x8610000040000bf7n],
    [v615.npt, 0x0000000040005e67n, false, 0x0000000040000ee7n],
    [v615.eptAd, 0x8600000040005b77n, true, 0x8600000040000bf3n],
    [v615.eptNoAd, 0x8610000040005b77n, true, 0x8610000040000bf3n],
    [v615.npt, 0x0000000040005e67n, true, 0x8000000040000ee7n],
    [v73.eptAd, 0x80a0000040005f77n, true, 0x80a0000040000bf3n],
  ])("%#", (format, small, mitigation, hugeSpte) => {
    expect(makeHugeSpte(format, toSpte(small), 2, mitigation)).toBe(hugeSpte);
  });

  it("refuses non-present entries and levels without huge leaves", () => {
    const present = toSpte(0x8600000040005b77n);
    expect(() => makeHugeSpte(v615.eptAd, SHADOW_NONPRESENT_VALUE, 2, false)).toThrow(NotPresentSpteError);
    expect(() => makeHugeSpte(v615.eptAd, present, 1, false)).toThrow(InvalidPgLevelError);
    expect(() => makeHugeSpte(v615.eptAd, present, 4, false)).toThrow("level 4 is not an integer in [2, 3]");
  });
});

describe("access tracking", () => {
  it.each([
    ["6.15 young", v615.eptNoAd, 0x8610000012345b77n, 0x8750000012345a70n, 0x8610000012345a75n],
    ["6.15 execute-only", v615.eptNoAd, 0x8210000012345974n, 0x8310000012345870n, 0x8210000012345874n],
    ["6.15 no-exec", v615.eptNoAd, 0x8610000012345b73n, 0x8650000012345a70n, 0x8610000012345a71n],
    ["7.3 young", v73.eptNoAd, 0x90a0000012345f77n, 0xd0f0000012345a70n, 0x90a0000012345e75n],
  ])("%s", (_name, format, young, aged, restored) => {
    expect(markSpteForAccessTrack(format, toSpte(young))).toBe(aged);
    expect(markSpteForAccessTrack(format, toSpte(aged))).toBe(aged);
    expect(restoreAccTrackSpte(format, toSpte(aged))).toBe(restored);
  });

  it.each([
    [v615.eptAd, 0x8600000012345b77n, 0x8600000012345a77n],
    [v615.npt, 0x0000000012345e67n, 0x0000000012345e47n],
    [v73.eptAd, 0x80a0000012345f77n, 0x80a0000012345e77n],
  ])("hardware A/D bits only lose A %#", (format, young, aged) => {
    expect(markSpteForAccessTrack(format, toSpte(young))).toBe(aged);
  });

  it("refuses to set and clear one bit at once", () => {
    const contradict = () => modifySpteProtections(v73.eptAd, toSpte(0x80a0000012345f77n), 6n, 4n);
    expect(contradict).toThrow(ContradictoryProtectionBitsError);
    expect(contradict).toThrow("overlap in 0x4");
  });
});
