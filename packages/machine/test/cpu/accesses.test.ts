import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Address, type Cpu, offset } from "../../src/index.js";
import { oneCpu } from "../support/machine.js";

const { machine, cpu } = oneCpu();
const word = machine.frames.allocateFrame(cpu);
const word32 = offset(machine.frames.allocateFrame(cpu), 4);

const EDGES = [
  0n,
  1n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 63n) + 1n,
  (1n << 64n) - 1n,
  0xffffffffn,
  1n << 32n,
];
const u64 = fc.oneof(fc.constantFrom(...EDGES), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }));
const u32 = fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff), fc.nat(0xffffffff));

type Update<T> = (old: T, operand: T) => T;

const updates64: [string, (address: Address, operand: bigint) => bigint, Update<bigint>][] = [
  ["xchg", (address, operand) => cpu.xchg(address, operand, "full"), (_old, operand) => operand],
  ["fetchAnd", (address, operand) => cpu.fetchAnd(address, operand, "full"), (old, operand) => old & operand],
  ["fetchOr", (address, operand) => cpu.fetchOr(address, operand, "full"), (old, operand) => old | operand],
  [
    "fetchAdd",
    (address, operand) => cpu.fetchAdd(address, operand, "full"),
    (old, operand) => BigInt.asUintN(64, old + operand),
  ],
];

const updates32: [string, (address: Address, operand: number) => number, Update<number>][] = [
  ["xchg32", (address, operand) => cpu.xchg32(address, operand, "full"), (_old, operand) => operand],
  [
    "fetchAnd32",
    (address, operand) => cpu.fetchAnd32(address, operand, "full"),
    (old, operand) => (old & operand) >>> 0,
  ],
  [
    "fetchOr32",
    (address, operand) => cpu.fetchOr32(address, operand, "full"),
    (old, operand) => (old | operand) >>> 0,
  ],
  [
    "fetchAdd32",
    (address, operand) => cpu.fetchAdd32(address, operand, "full"),
    (old, operand) => (old + operand) % 2 ** 32,
  ],
];

describe("64-bit words", () => {
  it.each(updates64)(
    "%s returns the old value and stores the new one, over the whole range",
    (_name, run, model) => {
      fc.assert(
        fc.property(u64, u64, (old, operand) => {
          cpu.writeOnce(word, old);
          expect(run(word, operand)).toBe(old);
          expect(cpu.readOnce(word)).toBe(model(old, operand));
          expect(cpu.loadAcquire(word)).toBe(model(old, operand));
        }),
      );
    },
  );

  it("cmpxchg stores only over the expected value and returns what it found", () => {
    fc.assert(
      fc.property(u64, u64, u64, fc.boolean(), (old, other, replacement, same) => {
        cpu.storeRelease(word, old);
        const expected = same ? old : other;
        expect(cpu.cmpxchg(word, expected, replacement, "full")).toBe(old);
        expect(cpu.readOnce(word)).toBe(expected === old ? replacement : old);
      }),
    );
  });

  it("fetchAdd takes negative addends modulo 2^64", () => {
    cpu.writeOnce(word, 0n);
    cpu.fetchAdd(word, -1n, "relaxed");
    expect(cpu.readOnce(word)).toBe((1n << 64n) - 1n);
  });

  it("memset64 writes its range and nothing beside it", () => {
    const frame = machine.frames.allocateFrame(cpu, 7n);
    cpu.memset64(offset(frame, 16), (1n << 63n) | 5n, 3);
    const words = Array.from({ length: 7 }, (_, index) => cpu.readOnce(offset(frame, index * 8)));
    const filled = (1n << 63n) | 5n;
    expect(words).toEqual([7n, 7n, filled, filled, filled, 7n, 7n]);
  });
});

describe("32-bit words", () => {
  it.each(updates32)("%s returns the old value and stores the new one, unsigned", (_name, run, model) => {
    fc.assert(
      fc.property(u32, u32, (old, operand) => {
        cpu.writeOnce32(word32, old);
        expect(run(word32, operand)).toBe(old);
        expect(cpu.readOnce32(word32)).toBe(model(old, operand));
        expect(cpu.loadAcquire32(word32)).toBe(model(old, operand));
        expect(cpu.readOnce32(offset(word32, -4))).toBe(0);
        expect(cpu.readOnce32(offset(word32, 4))).toBe(0);
      }),
    );
  });

  it("cmpxchg32 stores only over the expected value and returns what it found", () => {
    fc.assert(
      fc.property(u32, u32, u32, fc.boolean(), (old, other, replacement, same) => {
        cpu.storeRelease32(word32, old);
        const expected = same ? old : other;
        expect(cpu.cmpxchg32(word32, expected, replacement, "full")).toBe(old);
        expect(cpu.readOnce32(word32)).toBe(expected === old ? replacement : old);
      }),
    );
  });

  it("fetchAdd32 takes negative addends modulo 2^32", () => {
    cpu.writeOnce32(word32, 0);
    cpu.fetchAdd32(word32, -1, "relaxed");
    expect(cpu.readOnce32(word32)).toBe(0xffffffff);
  });
});

describe("what threads leave to the hardware", () => {
  it("fences, relax and scheduling calls return without touching memory", () => {
    const before = cpu.readOnce(word);
    const calls: (keyof Cpu)[] = [
      "smpMb",
      "smpRmb",
      "smpWmb",
      "condResched",
      "preemptDisable",
      "preemptEnable",
    ];
    for (const name of calls) (cpu[name] as () => void)();
    for (let round = 0; round < 300; round++) cpu.relax(word);
    expect(cpu.needResched()).toBe(false);
    expect(cpu.tracing).toBe(false);
    expect(cpu.readOnce(word)).toBe(before);
  });
});
