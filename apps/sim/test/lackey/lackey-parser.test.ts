import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AccessBatch } from "../../src/lackey/access-batch.js";
import type { AccessKind } from "../../src/lackey/access-kind.js";
import { MalformedTraceLineError } from "../../src/lackey/errors.js";
import { LackeyParser } from "../../src/lackey/lackey-parser.js";
import { lackeyLine, type WrittenAccess } from "./lackey-text.js";

interface Parsed {
  readonly accesses: readonly (readonly [page: number, kind: number])[];
  readonly instructionLines: number;
  readonly bannerLines: number;
}

function merge(batches: readonly AccessBatch[]): Parsed {
  return {
    accesses: batches.flatMap(({ pages, kinds }) => [...pages].map((page, i) => [page, kinds[i]!] as const)),
    instructionLines: batches.reduce((sum, batch) => sum + batch.instructionLines, 0),
    bannerLines: batches.reduce((sum, batch) => sum + batch.bannerLines, 0),
  };
}

/** Parses text that is cut before each of the given places. */
function parse(text: string, cuts: readonly number[] = []): Parsed {
  const bytes = Buffer.from(text);
  const parser = new LackeyParser("t");
  const places = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  const batches = places.slice(1).flatMap((end, i) => parser.push(bytes.subarray(places[i]!, end)));
  return merge([...batches, ...parser.finish()]);
}

const access: fc.Arbitrary<WrittenAccess> = fc.record({
  kind: fc.constantFrom<AccessKind>(0, 1, 2),
  address: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  size: fc.constantFrom(1, 2, 4, 8, 16, 32, 512),
});

describe("LackeyParser", () => {
  test("reads loads, stores, modifies, and counts the rest", () => {
    const text = "==7== Lackey\nI  04001000,3\n L 1ffeffe7b8,8\n S 04033e06,1\n M 00000fff,4\n==7== \n";
    expect(parse(text)).toEqual({
      accesses: [
        [0x1ffeffe, 0],
        [0x4033, 1],
        [0, 2],
      ],
      instructionLines: 1,
      bannerLines: 2,
    });
  });

  test("takes the highest address exactly", () => {
    expect(parse(" L ffffffffffffffff,1\n").accesses).toEqual([[2 ** 52 - 1, 0]]);
  });

  test("takes a last line without newline, carriage returns and upper case", () => {
    expect(parse(" L ABC123,8\r\n S 1000,1").accesses).toEqual([
      [0xabc, 0],
      [1, 1],
    ]);
  });

  test("reads back what was written, wherever the chunks are cut", () => {
    fc.assert(
      fc.property(
        fc.array(access, { maxLength: 40 }),
        fc.array(fc.nat(1000), { maxLength: 12 }),
        (list, cuts) => {
          const text = list.map((written) => `${lackeyLine(written)}\n`).join("");
          const places = cuts.filter((cut) => cut < text.length);
          const expected = list.map(({ address, kind }) => [Number(address >> 12n), kind]);
          expect(parse(text, places).accesses).toEqual(expected);
        },
      ),
    );
  });

  test("fills several batches from one chunk and keeps their order", () => {
    const lines = Array.from({ length: 150_000 }, (_, page) => ` L ${page.toString(16)}000,8\n`);
    const parser = new LackeyParser("t");
    const batches = [...parser.push(Buffer.from(lines.join(""))), ...parser.finish()];
    expect(batches.map(({ pages }) => pages.length)).toEqual([65_536, 65_536, 18_928]);
    expect(batches.flatMap(({ pages }) => [...pages]).every((page, index) => page === index)).toBe(true);
    expect(parser.lines).toBe(150_000);
  });

  test.each([
    "",
    "L 1000,8",
    " L 1000",
    " L 1000,",
    " L ,8",
    " L 1000,8x",
    " L 1000,8 ",
    " L 10g0,8",
    " L 11112222333344445,8",
    " X 1000,8",
    "  L 1000,8",
    " L  1000,8",
    "=",
    "random text",
  ])("refuses %j with its line number", (line) => {
    const text = ` L 1000,8\nI  1000,2\n${line}\n L 2000,8\n`;
    expect(() => parse(text)).toThrow(MalformedTraceLineError);
    expect(() => parse(text)).toThrow(`trace t, line 3: ${JSON.stringify(line)}`);
  });

  test("refuses a cut-off last line", () => {
    expect(() => parse(" L 1000,8\n L 20")).toThrow('line 2: " L 20"');
  });

  test("refuses endless lines early, and shows only their start", () => {
    const parser = new LackeyParser("t");
    const push = (): void => {
      for (let chunk = 0; chunk < 3; chunk++) parser.push(Buffer.alloc(40_000, "x"));
    };
    expect(push).toThrow(/line 1: "x{60}\.\.\."/);
  });
});
