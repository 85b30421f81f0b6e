import { describe, expect, it } from "vitest";
import {
  baseVolatileRule,
  kvmTdpMmuSpteNeedAtomicUpdate,
  leafSpteChangeNeedsTlbFlush,
  mergedVolatileRule,
  SHADOW_NONPRESENT_VALUE,
  type SpteFormat,
  spteNeedsAtomicUpdate,
  spteNeedsAtomicUpdateUnder,
  toSpte,
  v9VolatileRule,
} from "../src/index.js";
import { v73, v615 } from "./formats.js";

type VolatileRow = readonly [string, SpteFormat, bigint, boolean, boolean, boolean];

const volatileRows: readonly VolatileRow[] = [
  ["A/D, W A D", v615.eptAd, 0x8600000012345b77n, false, false, false],
  ["A/D, aged", v615.eptAd, 0x8600000012345a77n, true, false, false],
  ["A/D, D cleared", v615.eptAd, 0x8600000012345977n, true, true, true],
  ["A/D, dirty-log protected", v615.eptAd, 0x8600000012345b75n, true, true, true],
  ["A/D, page-table protected", v615.eptAd, 0x8200000012345b75n, false, false, false],
  ["A/D, host read-only", v615.eptAd, 0x8000000012345975n, false, false, false],
  ["no A/D, young writable", v615.eptNoAd, 0x8610000012345b77n, false, false, true],
  ["no A/D, access-tracked", v615.eptNoAd, 0x8750000012345a70n, true, true, true],
  ["no A/D, host read-only", v615.eptNoAd, 0x8010000012345975n, false, false, true],
  ["no A/D, D cleared", v615.eptNoAd, 0x8610000012345977n, false, false, true],
  ["NPT, aged", v615.npt, 0x0000000012345e47n, true, false, false],
  ["NPT, D cleared", v615.npt, 0x0000000012345e27n, true, true, true],
  ["write-protect-only, W A D", v615.eptAd, 0x8620000012345b77n, false, false, false],
];

describe("spteNeedsAtomicUpdate", () => {
  it.each(volatileRows)("%s", (_name, format, value, base, v9, merged) => {
    const spte = toSpte(value);
    expect(spteNeedsAtomicUpdateUnder(baseVolatileRule, format, spte)).toBe(base);
    expect(spteNeedsAtomicUpdateUnder(v9VolatileRule, format, spte)).toBe(v9);
    expect(spteNeedsAtomicUpdateUnder(mergedVolatileRule, format, spte)).toBe(merged);
    expect(spteNeedsAtomicUpdate(format, spte)).toBe(merged);
  });

  it("the TDP MMU asks it of present leaves only", () => {
    const clean = toSpte(0x8600000012345977n);
    expect(kvmTdpMmuSpteNeedAtomicUpdate(v615.eptAd, clean, 1)).toBe(true);
    expect(kvmTdpMmuSpteNeedAtomicUpdate(v615.eptAd, clean, 2)).toBe(false);
    expect(kvmTdpMmuSpteNeedAtomicUpdate(v615.eptAd, SHADOW_NONPRESENT_VALUE, 1)).toBe(false);
  });
});

describe("leafSpteChangeNeedsTlbFlush", () => {
  it.each([
    ["W cleared", v615.eptAd, 0x8600000012345b77n, 0x8600000012345b75n, false],
    ["W and MMU-writable cleared", v615.eptAd, 0x8600000012345b77n, 0x8200000012345b75n, true],
    ["MMU-writable cleared, W was clear", v615.eptAd, 0x8600000012345b75n, 0x8200000012345b75n, true],
    ["A and D cleared", v615.eptAd, 0x8600000012345b77n, 0x8600000012345977n, false],
    ["access-tracked", v615.eptNoAd, 0x8610000012345b77n, 0x8750000012345a70n, false],
    ["7.3 aged", v73.eptNoAd, 0x90a0000012345f77n, 0xd0f0000012345a70n, false],
    ["7.3 MMU-writable cleared", v73.eptAd, 0x80a0000012345f77n, 0x8020000012345d75n, true],
    ["old value not present", v615.eptAd, 0x8400000000000000n, 0x8200000012345b75n, false],
  ])("%s", (_name, format, before, after, flush) => {
    expect(leafSpteChangeNeedsTlbFlush(format, toSpte(before), toSpte(after))).toBe(flush);
  });
});
