import fc from "fast-check";
import { expect, it } from "vitest";
import { PageRanges } from "../../src/state/page-ranges.js";

const range = fc.tuple(fc.nat(60), fc.nat(12));

it("holds what a set holds, in ranges that do not touch", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 30 }), (added) => {
      const [ranges, pages] = [new PageRanges(), new Set<number>()];
      for (const [start, length] of added) {
        ranges.add(start, start + length);
        for (let page = start; page < start + length; page++) pages.add(page);
      }
      for (let page = -1; page < 80; page++) expect(ranges.has(page)).toBe(pages.has(page));
      const edges = ranges.ranges.flat();
      expect(edges.every((edge, index) => index === 0 || edge > edges[index - 1]!)).toBe(true);
    }),
  );
});
