import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { InvalidSizeError, SizeRangeError } from "../../src/options/errors.js";
import { parseSize } from "../../src/options/parse-size.js";

describe("parseSize", () => {
  test.each([
    ["0", 0],
    ["1", 1],
    ["4096", 4096],
    ["10b", 10],
    ["10B", 10],
    ["64M", 64 << 20],
    ["64m", 64 << 20],
    ["3G", 3 * 2 ** 30],
    ["2t", 2 * 2 ** 40],
    ["4k", 4096],
    ["0x10", 16],
    ["0x10k", 16 * 1024],
    ["0XaM", 10 << 20],
    ["0x1b", 0x1b],
    ["010", 8],
    ["010K", 8 * 1024],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(["", "M", "-1", "+1", " 1", "1 ", "1.5G", "1kb", "08", "0x", "10X", "1e3", "１"])(
    "refuses %j",
    (text) => {
      expect(() => parseSize(text)).toThrow(InvalidSizeError);
      expect(() => parseSize(text)).toThrow(JSON.stringify(text));
    },
  );

  test("refuses what is not exact", () => {
    expect(() => parseSize("9007199254740992")).toThrow(SizeRangeError);
    expect(() => parseSize("8192t")).toThrow("9007199254740991");
  });

  test("reads every notation of a number as the same", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        fc.constantFrom("", "k", "M"),
        (number, suffix) => {
          const bytes = number * { "": 1, k: 1024, M: 2 ** 20 }[suffix]!;
          for (const text of [`${number}`, `0x${number.toString(16)}`, `0${number.toString(8)}`]) {
            expect(parseSize(text + suffix)).toBe(bytes);
          }
        },
      ),
    );
  });
});
