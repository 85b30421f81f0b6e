import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkHostMmInvariants, type HostMm } from "../src/index.js";
import { makeHost, PAGE } from "./support.js";

const PAGES = 3;
/** Units of 4 bytes at both ends of each page, so that accesses meet. */
const UNITS_PER_END = 4;

interface Place {
  readonly page: number;
  readonly unit: number;
  readonly size: 4 | 8;
}

type Access =
  | ({ kind: "load" } & Place)
  | ({ kind: "store"; value: bigint } & Place)
  | ({ kind: "cmpxchg"; guess: bigint | "right"; value: bigint } & Place);
type Change = { kind: "protect"; page: number } | { kind: "munmap"; page: number };
type Step = Access | Change;

const value = fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n));
const place = {
  page: fc.nat(PAGES - 1),
  unit: fc.nat(2 * UNITS_PER_END - 1),
  size: fc.constantFrom(4 as const, 8 as const),
};
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("load" as const), ...place }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("store" as const), value, ...place }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("cmpxchg" as const),
      guess: fc.oneof(fc.constant("right" as const), value),
      value,
      ...place,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant("protect" as const), page: place.page }),
      fc.record({ kind: fc.constant("munmap" as const), page: place.page }),
    ),
  },
);

/** Memory as units of 4 bytes by their address. */
class Model {
  private readonly units = new Map<number, bigint>();
  readonly writable: boolean[] = new Array<boolean>(PAGES).fill(true);
  readonly mapped: boolean[] = new Array<boolean>(PAGES).fill(true);

  read(byte: number, size: 4 | 8): bigint {
    const lower = this.units.get(byte) ?? 0n;
    return size === 4 ? lower : lower | ((this.units.get(byte + 4) ?? 0n) << 32n);
  }

  write(byte: number, size: 4 | 8, value: bigint): void {
    this.units.set(byte, value % 2n ** 32n);
    if (size === 8) this.units.set(byte + 4, value / 2n ** 32n);
  }
}

/** The memory under test and what it should hold. */
interface Run {
  readonly hostMm: HostMm;
  readonly cpu: Cpu;
  readonly base: Hva;
  readonly atomic: boolean;
  readonly model: Model;
}

function change({ hostMm, cpu, base, model }: Run, { kind, page }: Change): void {
  const hva = (base + page * PAGE) as Hva;
  if (kind === "munmap") {
    hostMm.munmap(cpu, hva, PAGE);
    model.mapped[page] = false;
  } else if (model.mapped[page]) {
    model.writable[page] = !model.writable[page];
    hostMm.mprotect(cpu, hva, PAGE, model.writable[page]!);
  }
  expect(checkHostMmInvariants(hostMm, cpu)).toEqual([]);
}

function byteOf({ page, unit, size }: Place): number {
  const inPage = unit < UNITS_PER_END ? unit : PAGE / 4 - 2 * UNITS_PER_END + unit;
  return page * PAGE + inPage * 4 - ((inPage * 4) % size);
}

function access({ hostMm, cpu, base, atomic, model }: Run, step: Access): void {
  const { size, page } = step;
  const byte = byteOf(step);
  const hva = (base + byte) as Hva;
  const isReadable = model.mapped[page]!;
  const isWritable = isReadable && model.writable[page]!;
  const found = model.read(byte, size);
  if (step.kind === "load") {
    expect(hostMm.loadUser(cpu, hva, size, atomic)).toBe(isReadable ? found : null);
    return;
  }
  const value = BigInt.asUintN(size * 8, step.value);
  if (step.kind === "store") {
    expect(hostMm.storeUser(cpu, hva, size, value, atomic)).toBe(isWritable);
    if (isWritable) model.write(byte, size, value);
    return;
  }
  const expected = step.guess === "right" ? found : BigInt.asUintN(size * 8, step.guess);
  const outcome = !isWritable ? "fault" : expected === found ? "done" : "changed";
  expect(hostMm.cmpxchgUser(cpu, hva, size, expected, value)).toBe(outcome);
  if (outcome === "done") model.write(byte, size, value);
}

function run(steps: readonly Step[], atomic: boolean): void {
  const { hostMm, cpu } = makeHost();
  const base = hostMm.mmapBacked(cpu, PAGES * PAGE, { writable: true });
  const started: Run = { hostMm, cpu, base, atomic, model: new Model() };
  for (const step of steps) {
    if (step.kind === "munmap" || step.kind === "protect") change(started, step);
    else access(started, step);
  }
}

describe("random user accesses against a map of bytes", () => {
  it.each([true, false])("agree (atomic: %s)", { timeout: 120_000 }, (atomic) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => run(steps, atomic)),
      { numRuns: 60, seed: 20261123 },
    );
  });
});
