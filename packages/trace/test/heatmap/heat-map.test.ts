import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  HeatCollector,
  HeatGrid,
  type HeatMap,
  heatMap,
  identifyTrace,
  type TraceRecord,
} from "../../src/index.js";
import { ageGfn, ageGfnReturned, ageHva, changed, recordsOf } from "../support/trace-lines.js";

const HVA = 0x7f0000000000;
const ALL = { fromNs: 0, toNs: Number.POSITIVE_INFINITY };

function sum(map: HeatMap): number {
  return map.rows.flatMap(({ cells }) => cells).reduce<number>((total, cell) => total + (cell ?? 0), 0);
}

describe("HeatGrid", () => {
  const call = fc.record({
    us: fc.nat(5_000_000),
    start: fc.nat(9000),
    pages: fc.integer({ min: 1, max: 900 }),
  });

  it("loses no count while it adapts, and stays within its bounds", () => {
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 12 }), (calls) => {
        const grid = new HeatGrid();
        const sorted = [...calls].sort((a, b) => a.us - b.us);
        for (const { us, start, pages } of sorted) {
          const range = [{ start, end: start + pages }];
          grid.add(us * 1000, { asked: range, young: range });
        }
        const cells = [...grid.cells()];
        const pages = calls.reduce((total, { pages: count }) => total + count, 0);
        expect(cells.reduce((total, { young }) => total + young, 0)).toBe(pages);
        expect(cells.reduce((total, { asked }) => total + asked, 0)).toBe(pages);
        expect(new Set(cells.map(({ block }) => block)).size).toBeLessThanOrEqual(2048);
        const map = heatMap(grid, { rows: 10, columns: 16 });
        expect(sum(map)).toBe(pages);
        expect(map.rows.length).toBeLessThanOrEqual(10);
        expect(map.columns).toBeLessThanOrEqual(16);
      }),
      { numRuns: 20 },
    );
  });

  it("puts each count where it belongs", () => {
    const grid = new HeatGrid();
    const at = (ms: number, gfn: number): void => {
      grid.add(ms * 1e6, { asked: [{ start: gfn, end: gfn + 1 }], young: [{ start: gfn, end: gfn + 1 }] });
    };
    at(0, 0x10);
    at(0, 0x11);
    at(9, 0x10);
    at(9, 0x40000);
    grid.add(9e6, { asked: [{ start: 0x11, end: 0x12 }], young: [] });
    const map = heatMap(grid, { rows: 3, columns: 2 });
    expect(map.rows.map(({ gfn, pages }) => [gfn, pages])).toEqual([
      [0x10, 1],
      [0x11, 1],
      [0x40000, 1],
    ]);
    expect(map.rows.map(({ cells }) => cells)).toEqual([
      [1, 1],
      [1, 0],
      [null, 1],
    ]);
    expect(map).toMatchObject({ fromNs: 0, max: 1 });
  });

  it("has no rows without counts", () => {
    expect(heatMap(new HeatGrid(), { rows: 4, columns: 4 })).toMatchObject({ rows: [], columns: 0 });
  });
});

describe("HeatCollector", () => {
  function collect(records: readonly TraceRecord[], tdpMmu: boolean, window = ALL): HeatMap {
    const collector = new HeatCollector({ ...identifyTrace(records, { mode: "npt" }), tdpMmu }, window);
    for (const record of records) collector.observe(record);
    collector.finish();
    return heatMap(collector.grid, { rows: 8, columns: 1 });
  }

  it("takes SPTE changes of the TDP MMU, a huge page as a whole", () => {
    const map = collect(
      recordsOf(
        ageHva(HVA, 1),
        changed(5, 1, "12345e67", "12345e47"),
        ageHva(HVA, 1),
        changed(0x200, 2, "40000ee7", "40000ec7"),
      ),
      true,
    );
    expect(sum(map)).toBe(513);
  });

  it("takes return probes where the MMU shows no changes", () => {
    const asked = (gfn: number, ret: number): string[] => [
      ageHva(HVA, 1),
      ageGfn(gfn, gfn + 1),
      ageGfnReturned(ret),
    ];
    const map = collect(recordsOf(...asked(5, 1), ...asked(6, 0)), false);
    expect(map.rows.map(({ gfn, cells }) => [gfn, cells])).toEqual([
      [5, [1]],
      [6, [0]],
    ]);
    expect(collect(recordsOf(ageHva(HVA, 1)), false).rows).toEqual([]);
  });

  it("leaves out what is outside its window", () => {
    const aged = (us: number): string[] => [
      ageHva(HVA, 1, { us }),
      changed(5, 1, "12345e67", "12345e47", { us }),
    ];
    const records = recordsOf(...aged(1_000_000), ...aged(2_000_000), ...aged(3_000_000));
    expect(sum(collect(records, true))).toBe(3);
    expect(sum(collect(records, true, { fromNs: 1.5e9, toNs: 2.5e9 }))).toBe(1);
  });
});
