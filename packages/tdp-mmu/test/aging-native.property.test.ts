import { type Address, offset } from "@kvm-age/machine";
import fc from "fast-check";
import { describe, it } from "vitest";
import type { LeafScan } from "../src/index.js";
import { Guest } from "./kit/guest.js";
import { age, sptepAt } from "./kit/operations.js";
import { EVERY_FORMAT, ofPage, type ReferenceFormat } from "./kit/reference-values.js";

const PAGES = 2048;
const NOT_PRESENT = 0x8000000000000000n;
const KINDS = ["demand", "aged", "prefetch", "logged", "hostReadOnly", "writeProtected", "frozen"] as const;

interface Layout {
  /** What each of the four 2M regions is mapped by. */
  readonly regions: readonly ("nothing" | "table" | "young huge" | "old huge")[];
  readonly pages: readonly (readonly [number, (typeof KINDS)[number]])[];
  readonly start: number;
  readonly end: number;
}

const layouts: fc.Arbitrary<Layout> = fc
  .record({
    regions: fc.array(fc.constantFrom("nothing", "table", "table", "young huge", "old huge"), {
      minLength: 4,
      maxLength: 4,
    }),
    pages: fc.array(fc.tuple(fc.nat(PAGES - 1), fc.constantFrom(...KINDS)), { maxLength: 80 }),
    bounds: fc.tuple(fc.nat(PAGES), fc.nat(PAGES)),
  })
  .map(({ regions, pages, bounds }) => ({
    regions: regions as Layout["regions"],
    pages,
    start: Math.min(...bounds),
    end: Math.max(...bounds),
  }));

/** Puts the layout into a guest's tables, value by value; returns where each region's entries are. */
function build(guest: Guest, reference: ReferenceFormat, layout: Layout): (Address | null)[] {
  return layout.regions.map((kind, region) => {
    const first = region * 512;
    if (kind === "nothing") return null;
    guest.host.level = kind === "table" ? 1 : 2;
    guest.fault(first, true);
    const sptep = sptepAt(guest, first, guest.host.level);
    if (kind === "old huge") age(guest, first, first + 1);
    if (kind !== "table") return null;
    guest.cpu.writeOnce(sptep, NOT_PRESENT);
    for (const [page, value] of layout.pages) {
      if (Math.floor(page / 512) !== region) continue;
      const spte = value === "frozen" ? reference.frozen : ofPage(reference[value], page);
      guest.cpu.writeOnce(offset(sptep, (page % 512) * 8), spte);
    }
    return sptep;
  });
}

/** Every value of the tree after aging, page by page, and the answer. */
function outcome(reference: ReferenceFormat, layout: Layout, scan: LeafScan): unknown {
  const guest = new Guest({ ...reference.init, arenaBytes: 16 << 20, options: { leafScan: scan } });
  const regions = build(guest, reference, layout);
  const young = age(guest, layout.start, layout.end);
  const sptes = regions.map((table, region) =>
    table === null
      ? guest.spte(region * 512)
      : Array.from({ length: 512 }, (_, index) => guest.cpu.readOnce(offset(table, index * 8))),
  );
  return { young, sptes };
}

/** What the reference says: A goes from every accessed leaf that the range touches, and from nothing else. */
function expected(reference: ReferenceFormat, layout: Layout): unknown {
  let young = false;
  const aged = (spte: bigint, first: number, pages: number): bigint => {
    const present = (spte & 0x800n) !== 0n;
    const touched = first < layout.end && first + pages > layout.start && layout.start < layout.end;
    if (!present || !touched || (spte & reference.accessedBit) === 0n) return spte;
    young = true;
    return spte & ~reference.accessedBit;
  };
  const sptes = layout.regions.map((kind, region) => {
    const first = region * 512;
    if (kind === "nothing") return NOT_PRESENT;
    const huge = ofPage(reference.huge, first);
    if (kind === "old huge") return huge & ~reference.accessedBit;
    if (kind === "young huge") return aged(huge, first, 512);
    const values = new Map(layout.pages);
    return Array.from({ length: 512 }, (_, index) => {
      const value = values.get(first + index);
      if (value === undefined) return NOT_PRESENT;
      const spte = value === "frozen" ? reference.frozen : ofPage(reference[value], first + index);
      return aged(spte, first + index, 1);
    });
  });
  return { young, sptes };
}

describe.each(EVERY_FORMAT.filter(({ adBits }) => adBits))("random tables and ranges, $name", (reference) => {
  it.each(["native", "iterator"] as const)("the %s scan does what the reference says", (scan) => {
    fc.assert(
      fc.property(layouts, (layout) => {
        const got = outcome(reference, layout, scan);
        const want = expected(reference, layout);
        if (!sameOutcome(got, want)) throw new Error("outcomes differ");
      }),
      { numRuns: 30, seed: 1 },
    );
  });
});

function sameOutcome(left: unknown, right: unknown): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? part.toString(16) : part));
  return text(left) === text(right);
}
