import { describe, expect, test } from "vitest";
import { inferSlots } from "../../src/conformance/input/infer-slots.js";
import { RecordedSlots } from "../../src/conformance/input/recorded-slots.js";
import { linesOf, payloads } from "./kit/trace-lines.js";

const { age, changed, requested, unmap } = payloads;
const PAGE = 4096;
const FAR = 0x100000;

describe("inferSlots", () => {
  test("takes pages that are far apart for slots of their own, out to 2 MiB borders", () => {
    const slots = inferSlots(linesOf([1, requested(3)], [1, requested(0x205)], [1, requested(FAR + 1)]));
    expect(slots.map(({ slot, gfn, pages }) => [slot, gfn, pages])).toEqual([
      [0, 0, 0x400],
      [1, FAR, 0x200],
    ]);
  });

  test("places a slot by the aging call whose change shows its page", () => {
    const hva = 0x7f0000005000;
    const slots = inferSlots(
      linesOf([1, requested(FAR + 5)], [2, age(hva, hva + PAGE)], [2, changed(FAR + 5, 1)]),
    );
    expect(slots).toEqual([{ slot: 0, gfn: FAR, hva: 0x7f0000000000, pages: 0x200 }]);
  });

  test("does not take a change for that of a range of another size, or of another task", () => {
    const hva = 0x7f0000005000;
    for (const lines of [
      linesOf([1, requested(FAR + 5)], [2, age(hva, hva + 2 * PAGE)], [2, changed(FAR + 5, 1)]),
      linesOf([1, requested(FAR + 5)], [2, age(hva, hva + PAGE)], [3, changed(FAR + 5, 1)]),
    ]) {
      expect(inferSlots(lines)[0]!.hva).not.toBe(0x7f0000000000);
    }
  });

  test("places a slot by an invalidation of all of it", () => {
    const hva = 0x7f0000000000;
    const slots = inferSlots(
      linesOf(
        [1, requested(FAR)],
        [1, requested(FAR + 7)],
        [2, unmap(hva, hva + 512 * PAGE)],
        [2, changed(FAR, 1)],
      ),
    );
    expect(slots).toEqual([{ slot: 0, gfn: FAR, hva, pages: 0x200 }]);
  });

  test("is empty for a trace that maps nothing", () => {
    expect(inferSlots(linesOf([1, age(0, PAGE)]))).toEqual([]);
  });
});

describe("RecordedSlots", () => {
  const slots = new RecordedSlots([
    { slot: 0, gfn: 0, hva: 0x1000000, pages: 2 },
    { slot: 1, gfn: 0x100, hva: 0x2000000, pages: 4 },
  ]);

  test("translate guest pages to the owner's addresses", () => {
    expect([0, 1, 0x100, 0x103].map((gfn) => slots.hvaOf(gfn))).toEqual([
      0x1000000, 0x1001000, 0x2000000, 0x2003000,
    ]);
    expect([2, 0xff, 0x104].map((gfn) => slots.hvaOf(gfn))).toEqual([null, null, null]);
  });

  test("are found by number", () => {
    expect(slots.slot(1)?.gfn).toBe(0x100);
    expect(slots.slot(2)).toBeNull();
  });
});
