import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ClearMethod, clearBitsWhereOneByOne, offset } from "../../src/index.js";
import { oneCpu } from "../support/machine.js";

const { machine, cpu } = oneCpu();
const native = machine.frames.allocateFrame(cpu);
const reference = machine.frames.allocateFrame(cpu);

const METHODS: ClearMethod[] = ["cmpxchg", "fetch-and"];
const bits = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
/** Few bits, so that masks and values often agree; the top one among them. */
const fewBits = fc
  .array(fc.constantFrom(0n, 5n, 8n, 9n, 11n, 62n, 63n), { maxLength: 3 })
  .map((positions) => positions.reduce<bigint>((word, position) => word | (1n << position), 0n));
const anyWord = fc.oneof(bits, fewBits);

describe.each(METHODS)("clearBitsWhere by %s", (method) => {
  it("does natively what the sequence of single accesses does", () => {
    const run = fc.record({
      words: fc.array(anyWord, { minLength: 1, maxLength: 40 }),
      mask: anyWord,
      value: anyWord,
      clear: anyWord,
      skip: fc.nat(3),
    });
    fc.assert(
      fc.property(run, ({ words, mask, value, clear, skip }) => {
        const wanted = value & mask;
        words.forEach((word, index) => {
          cpu.writeOnce(offset(native, index * 8), word);
          cpu.writeOnce(offset(reference, index * 8), word);
        });
        const first = Math.min(skip, words.length);
        const count = words.length - first;
        const matched = cpu.clearBitsWhere(offset(native, first * 8), count, mask, wanted, clear, method);
        expect(matched).toBe(
          clearBitsWhereOneByOne(cpu, offset(reference, first * 8), count, mask, wanted, clear, method),
        );
        words.forEach((word, index) => {
          const hit = index >= first && (word & mask) === wanted;
          const after = hit ? word & ~clear : word;
          expect(cpu.readOnce(offset(native, index * 8))).toBe(BigInt.asUintN(64, after));
          expect(cpu.readOnce(offset(reference, index * 8))).toBe(BigInt.asUintN(64, after));
        });
      }),
      { numRuns: 300 },
    );
  });

  it("counts nothing in an empty run, and every word when nothing is asked of it", () => {
    cpu.memset64(native, 1n << 63n, 512);
    expect(cpu.clearBitsWhere(native, 0, 0n, 0n, 1n, method)).toBe(0);
    expect(cpu.clearBitsWhere(native, 512, 0n, 0n, 1n << 63n, method)).toBe(512);
    expect(cpu.clearBitsWhere(native, 512, 1n << 63n, 1n << 63n, 0n, method)).toBe(0);
  });
});

it("the words that changed since they were read: cmpxchg leaves them, fetch-and clears them; both count them", () => {
  const outcome = (method: ClearMethod) => {
    cpu.writeOnce(native, 0b01n);
    const racing = Object.create(cpu, {
      readOnce: {
        value: () => {
          cpu.fetchOr(native, 0b10n, "full");
          return 0b01n;
        },
      },
    }) as typeof cpu;
    return [clearBitsWhereOneByOne(racing, native, 1, 1n, 1n, 1n, method), cpu.readOnce(native)];
  };
  expect(outcome("cmpxchg")).toEqual([1, 0b11n]);
  expect(outcome("fetch-and")).toEqual([1, 0b10n]);
});
