import type { Address } from "@kvm-age/machine";
import { pteListAdd } from "@kvm-age/rmap";
import {
  isShadowPresentPte,
  markSpteForAccessTrack,
  PG_LEVEL_4K,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gfnToRmap } from "../../src/leaf-rmap/gfn-to-rmap.js";
import { LeafGuest } from "./kit/leaf-guest.js";
import { FORMATS, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const RUNS = 150;
const PAGE = 3;

/** Bits that aging may change in this entry: A, and without hardware A/D the permissions and where they are kept. */
function losableBits(format: SpteFormat, reference: ReferenceFormat): bigint {
  if (reference.adBits) return format.shadowAccessedMask;
  const { accTrackSavedBitsMask, accTrackSavedBitsShift } = format.rules;
  return (
    format.shadowAccessedMask | format.shadowAccTrackMask | (accTrackSavedBitsMask << accTrackSavedBitsShift)
  );
}

/** A leaf as this MMU makes them, in any state of W, D, A, MMU-writable and tracking, or none. */
function leafOf(format: SpteFormat, reference: ReferenceFormat): fc.Arbitrary<Spte> {
  const bit = (mask: bigint) => fc.boolean().map((set) => (set ? mask : 0n));
  const present = fc
    .tuple(
      bit(2n),
      bit(reference.mmuWritableBit),
      bit(reference.dirtyBit),
      bit(reference.accessedBit),
      fc.boolean(),
    )
    .map(([w, mmuWritable, d, a, tracked]) => {
      const variable = 2n | reference.mmuWritableBit | reference.dirtyBit | reference.accessedBit;
      const writable = mmuWritable === 0n ? 0n : w;
      const base = ofPage(reference.demand, PAGE) & ~variable;
      const spte = BigInt.asUintN(64, base | writable | mmuWritable | d | a) as Spte;
      return tracked ? markSpteForAccessTrack(format, spte) : spte;
    });
  return fc.oneof({ weight: 6, arbitrary: present }, fc.constant((1n << 63n) as Spte));
}

describe.each(FORMATS)("aging any list, $name", (reference) => {
  const guest = new LeafGuest(reference.init);
  const { cpu, mmu, format } = guest;
  const entries = guest.machine.frames.allocateFrame(cpu);
  const head = gfnToRmap(cpu, guest.slot, guest.gfn(PAGE), PG_LEVEL_4K);
  const sptep = (index: number): Address => (entries + index * 8) as Address;

  /** Puts the values into the list of a page, ages it, empties the list and returns the values. */
  const ageList = (values: readonly Spte[]): { young: boolean; tested: boolean; after: bigint[] } => {
    guest.underWriteLock(() => {
      for (const [index, value] of values.entries()) {
        cpu.writeOnce(sptep(index), value);
        pteListAdd(mmu.rmaps, cpu, mmu.rmaps.descriptors, sptep(index), head);
      }
    }, cpu);
    const value = cpu.readOnce(head);
    const tested = guest.testAge(PAGE, PAGE + 1);
    expect(values.map((_, index) => cpu.readOnce(sptep(index)))).toEqual(values);
    const young = guest.age(PAGE, PAGE + 1);
    expect(cpu.readOnce(head)).toBe(value);
    cpu.writeOnce(head, 0n);
    return { young, tested, after: values.map((_, index) => cpu.readOnce(sptep(index))) };
  };

  it("changes nothing but A and tracking, agrees with the test, and leaves nothing young", () => {
    fc.assert(
      fc.property(fc.array(leafOf(format, reference), { maxLength: 20 }), (values) => {
        const isYoung = (spte: bigint): boolean =>
          isShadowPresentPte(spte as Spte) && (spte & format.shadowAccessedMask) !== 0n;
        const { young, tested, after } = ageList(values);
        expect(young).toBe(values.some(isYoung));
        expect(tested).toBe(young);
        expect(after.some(isYoung)).toBe(false);
        const losable = losableBits(format, reference);
        for (const [index, value] of values.entries()) {
          expect((after[index]! ^ value) & ~losable).toBe(0n);
          if (!isYoung(value)) expect(after[index]).toBe(value);
          else expect(after[index]).toBe(markSpteForAccessTrack(format, value));
        }
      }),
      { numRuns: RUNS },
    );
  });
});
