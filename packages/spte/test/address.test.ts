import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  gfnRoundForLevel,
  InvalidFrameNumberError,
  InvalidPgLevelError,
  InvalidSpteError,
  KVM_MAX_HUGEPAGE_LEVEL,
  kvmHpageGfnShift,
  kvmPagesPerHpage,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  PG_LEVEL_4K,
  PG_LEVEL_256T,
  PG_LEVEL_512G,
  type PgLevel,
  PT32E_ROOT_LEVEL,
  PT64_ROOT_4LEVEL,
  PT64_ROOT_5LEVEL,
  spteIndex,
  toGfn,
  toPfn,
  toPgLevel,
  toSpte,
} from "../src/index.js";

const gfns = fc.integer({ min: 0, max: 2 ** 52 - 1 }).map(toGfn);
const levels = fc.constantFrom<PgLevel>(1, 2, 3, 4, 5);

describe("levels", () => {
  it("have the kernel's numbers and sizes", () => {
    const all = [PG_LEVEL_4K, PG_LEVEL_2M, PG_LEVEL_1G, PG_LEVEL_512G, PG_LEVEL_256T];
    expect(all).toEqual([1, 2, 3, 4, 5]);
    expect(all.map(kvmHpageGfnShift)).toEqual([0, 9, 18, 27, 36]);
    expect(all.map(kvmPagesPerHpage)).toEqual([1, 512, 262144, 134217728, 68719476736]);
    const roots = [KVM_MAX_HUGEPAGE_LEVEL, PT32E_ROOT_LEVEL, PT64_ROOT_4LEVEL, PT64_ROOT_5LEVEL];
    expect(roots).toEqual([3, 3, 4, 5]);
  });

  it("are checked", () => {
    expect(toPgLevel(5)).toBe(5);
    expect(() => toPgLevel(0)).toThrow(InvalidPgLevelError);
    expect(() => toPgLevel(6)).toThrow("level 6 is not an integer in [1, 5]");
  });
});

describe("spteIndex and gfnRoundForLevel", () => {
  it("agree with 64-bit arithmetic on every gfn", () => {
    fc.assert(
      fc.property(gfns, levels, (gfn, level) => {
        const shift = BigInt((level - 1) * 9);
        expect(spteIndex(gfn, level)).toBe(Number((BigInt(gfn) >> shift) & 511n));
        expect(gfnRoundForLevel(gfn, level)).toBe(Number((BigInt(gfn) >> shift) << shift));
      }),
    );
  });

  it.each([0, 1, 511, 512, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 36 - 1, 2 ** 45, 2 ** 52 - 1])(
    "gfn %i",
    (value) => {
      for (const level of [1, 2, 3, 4, 5] as const) {
        const shift = BigInt((level - 1) * 9);
        expect(spteIndex(toGfn(value), level)).toBe(Number((BigInt(value) >> shift) & 511n));
      }
    },
  );
});

describe("branded numbers", () => {
  it.each([-1, 1.5, 2 ** 52, Number.NaN])("gfn %d is refused", (value) => {
    expect(() => toGfn(value)).toThrow(InvalidFrameNumberError);
    expect(() => toGfn(value)).toThrow(`gfn ${value} is not an integer in [0, 4503599627370495]`);
  });

  it.each([-1, 0.5, 2 ** 40])("pfn %d is refused", (value) => {
    expect(() => toPfn(value)).toThrow(InvalidFrameNumberError);
    expect(() => toPfn(value)).toThrow(`pfn ${value} is not an integer in [0, 1099511627775]`);
  });

  it.each([-1n, 2n ** 64n])("SPTE %s is refused", (value) => {
    expect(() => toSpte(value)).toThrow(InvalidSpteError);
    expect(() => toSpte(value)).toThrow("is outside [0x0, 0xffffffffffffffff]");
  });

  it("accept their limits", () => {
    expect([toGfn(2 ** 52 - 1), toPfn(2 ** 40 - 1), toSpte(2n ** 64n - 1n)]).toEqual([
      2 ** 52 - 1,
      2 ** 40 - 1,
      2n ** 64n - 1n,
    ]);
  });
});
