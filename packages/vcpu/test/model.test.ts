import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACCESS_EMULATE, type AccessKind, type TlbGeometry } from "../src/index.js";
import { ACCESSED, DIRTY, FORMATS, type Format, gpaOf, Rig } from "./support/rig.js";

/** Small enough that random accesses evict, and large enough that they hit. */
const geometry: TlbGeometry = {
  small: { entries: 4, ways: 2 },
  large: { entries: 2, ways: 1 },
  huge: { entries: 1, ways: 1 },
};

interface Rights {
  readonly write: boolean;
  readonly execute: boolean;
}

/** One mapped page of the model: what it maps, what it allows, and its two flags. */
interface Page extends Rights {
  readonly pfn: number;
  readonly pages: number;
  accessed: boolean;
  dirty: boolean;
}

const KINDS: readonly AccessKind[] = ["read", "write", "fetch", "user-fetch"];
const rights = fc.record({ write: fc.boolean(), execute: fc.boolean() });
// Region r covers one 2M range: either a large page, or up to eight small ones.
const region = fc.record({
  large: fc.boolean(),
  table: rights,
  pages: fc.array(fc.option(rights, { nil: null }), { minLength: 8, maxLength: 8 }),
});
const step = fc.record({
  region: fc.integer({ min: 0, max: 2 }),
  page: fc.integer({ min: 0, max: 7 }),
  kind: fc.constantFrom(...KINDS),
  event: fc.constantFrom("none", "none", "none", "exit", "flush"),
});

function leafBits(format: Format, { write, execute }: Rights): bigint {
  const writable = write ? 2n : 0n;
  if (format === "ept") return 0x31n | writable | (execute ? 4n : 0n);
  return 5n | writable | (execute ? 0n : 1n << 63n);
}

type Region = typeof region extends fc.Arbitrary<infer Value> ? Value : never;

/** Fills the tables, and makes the model of the same mapping: leaf entry address by gfn. */
function build(rig: Rig, regions: readonly Region[]): Map<number, { page: Page; leaf: number }> {
  const model = new Map<number, { page: Page; leaf: number }>();
  regions.forEach(({ large, table, pages }, number) => {
    const base = 2 ** 30 + number * 512;
    const pfnBase = 0x100000 + number * 0x1000;
    if (large && pages[0] != null) {
      const leaf = rig.map(base, pfnBase, 2, leafBits(rig.format, pages[0]));
      const page = { ...pages[0], pfn: pfnBase, pages: 512, accessed: false, dirty: false };
      for (let index = 0; index < 8; index++) model.set(base + index, { page, leaf });
      return;
    }
    pages.forEach((leafRights, index) => {
      if (leafRights === null) return;
      const leaf = rig.map(base + index, pfnBase + index * 3, 1, leafBits(rig.format, leafRights));
      const allowed = {
        write: leafRights.write && table.write,
        execute: leafRights.execute && table.execute,
      };
      const page = { ...allowed, pfn: pfnBase + index * 3, pages: 1, accessed: false, dirty: false };
      model.set(base + index, { page, leaf });
    });
    const tableEntry = rig.entry(base, 2);
    if ((rig.cpu.readOnce(tableEntry) & 7n) === 0n) return;
    const address = rig.cpu.readOnce(tableEntry) & 0xffffffffff000n;
    rig.cpu.writeOnce(tableEntry, address | (leafBits(rig.format, table) & ~0x38n));
  });
  return model;
}

describe.each(FORMATS)("%s against a plain model", (format) => {
  it("translates, refuses and flags the same pages", () => {
    fc.assert(
      fc.property(
        fc.array(region, { minLength: 3, maxLength: 3 }),
        fc.array(step, { minLength: 1, maxLength: 60 }),
        (regions, steps) => {
          const rig = new Rig(format);
          const model = build(rig, regions);
          const vcpu = rig.vcpu({ tlb: geometry });
          for (const { region: number, page: index, kind, event } of steps) {
            if (event === "exit") vcpu.exitGuest(rig.cpu);
            if (event === "flush") vcpu.flushTlb(rig.cpu);
            const gfn = 2 ** 30 + number * 512 + index;
            const mapped = model.get(gfn);
            const fetches = kind === "fetch" || kind === "user-fetch";
            const page = mapped?.page;
            const allowed = page !== undefined && (kind === "read" || (fetches ? page.execute : page.write));
            const expected = allowed ? page.pfn + (gfn % page.pages) : ACCESS_EMULATE;
            expect(vcpu.access(rig.cpu, gpaOf(gfn), kind)).toBe(expected);
            if (!allowed) continue;
            page.accessed = true;
            if (kind === "write") page.dirty = true;
          }
          // Nothing cleared a flag, so they tell exactly which pages were used, whatever the TLB did.
          for (const { page, leaf } of model.values()) {
            const entry = rig.cpu.readOnce(leaf as never);
            expect((entry & ACCESSED[format]) !== 0n).toBe(page.accessed);
            expect((entry & DIRTY[format]) !== 0n).toBe(page.dirty);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
