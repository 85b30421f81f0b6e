import type { Address } from "@kvm-age/machine";
import fc from "fast-check";
import { expect, it } from "vitest";
import {
  ACCESS_EMULATE,
  ACCESS_GUEST_PAGE_FAULT,
  type AccessKind,
  type GuestPagingState,
} from "../src/index.js";
import { type ReferenceMemory, referenceWalk } from "./support/reference-walk.js";
import { LEAF_BITS, Rig } from "./support/rig.js";

/** Guest frames with bytes, full of entries that point at each other, at nothing, and out of memory. */
const FRAMES = 8;
/** A guest frame that EPT does not let write, one without bytes, and the first frame of a large page. */
const READ_ONLY = 8;
const NO_BYTES = 9;
const LARGE = 512;
const SLOTS = [0, 1, 2, 3, 511];
const KINDS: readonly AccessKind[] = ["read", "write", "fetch", "user-read", "user-write", "user-fetch"];

const often = <Value>(usual: Value, rare: fc.Arbitrary<Value>, weight: number): fc.Arbitrary<Value> =>
  fc.oneof({ arbitrary: fc.constant(usual), weight }, { arbitrary: rare, weight: 1 });

const entry = fc
  .record({
    frame: fc.oneof(
      { arbitrary: fc.integer({ min: 0, max: FRAMES - 1 }), weight: 12 },
      {
        arbitrary: fc.constantFrom(READ_ONLY, NO_BYTES, LARGE, 10, 2 ** 20, 2 ** 33, 0x2_0000_0000),
        weight: 2,
      },
    ),
    present: often(1n, fc.constant(0n), 8),
    rights: often(
      6n,
      fc.bigInt({ min: 0n, max: 7n }).map((bits) => bits << 1n),
      2,
    ),
    flags: fc.bigInt({ min: 0n, max: 3n }).map((bits) => bits << 5n),
    size: often(0n, fc.constant(0x80n), 4),
    noExecute: often(0n, fc.constant(1n << 63n), 4),
    stray: often(
      0n,
      fc.integer({ min: 8, max: 62 }).map((number) => 1n << BigInt(number)),
      8,
    ),
  })
  .map(({ frame, present, rights, flags, size, noExecute, stray }) => {
    return (BigInt(frame) << 12n) | present | rights | flags | size | noExecute | stray;
  });

const pdpte = fc
  .record({
    frame: fc.integer({ min: 0, max: FRAMES }),
    bits: often(1n, fc.bigInt({ min: 0n, max: 0x1ffn }), 6),
  })
  .map(({ frame, bits }) => (BigInt(frame) << 12n) | bits);

const state = fc
  .record({
    mode: fc.constantFrom("pae" as const, "4-level" as const, "5-level" as const),
    cr3: fc.integer({ min: 0, max: FRAMES }).map((frame) => frame * 4096),
    cr0Wp: fc.boolean(),
    eferNx: often(true, fc.constant(false), 4),
    cr4Smep: fc.boolean(),
    cr4Smap: often(false, fc.constant(true), 4),
    cr4Pcide: fc.constant(false),
  })
  .map((registers): GuestPagingState => registers);

const access = fc.record({
  indices: fc.array(fc.constantFrom(0, 0, 1, 2, 3, 511), { minLength: 5, maxLength: 5 }),
  offset: fc.integer({ min: 0, max: 4095 }),
  kind: fc.constantFrom(...KINDS),
});

/** The address whose path has these indices, as far as the mode's addresses reach. */
function addressOf({ mode }: GuestPagingState, indices: readonly number[], offset: number): number {
  const [e, d, c, b, a] = indices as [number, number, number, number, number];
  const page = ((b % 512) * 512 + a) % 2 ** 18;
  if (mode === "pae") return ((c % 4) * 2 ** 18 + page) * 4096 + offset;
  const low = ((d % 256) * 2 ** 27 + c * 2 ** 18 + page) * 4096 + offset;
  return mode === "4-level" ? low : (e % 16) * 2 ** 48 + low;
}

/** The same memory for both: the rig's words, and a copy that only the reference changes. */
class Memory implements ReferenceMemory {
  private readonly words = new Map<bigint, bigint>();
  private readonly hostFrames: number[] = [];

  constructor(private readonly rig: Rig) {
    for (let gfn = 0; gfn < FRAMES; gfn++) {
      const frame = rig.machine.frames.allocateFrame(rig.cpu);
      this.hostFrames.push(frame / 4096);
      rig.map(gfn, frame / 4096);
    }
    rig.map(READ_ONLY, this.hostFrames[0]!, 1, LEAF_BITS.ept & ~2n);
    rig.map(NO_BYTES, 0x100009);
    rig.map(LARGE, 0x100200, 2);
  }

  fill(gfn: number, slot: number, value: bigint): void {
    this.words.set(BigInt(gfn * 4096 + slot * 8), value);
    this.rig.cpu.writeOnce(this.host(gfn, slot), value);
  }

  secondLevel(gfn: bigint) {
    if (gfn < FRAMES) return { pfn: BigInt(this.hostFrames[Number(gfn)]!), writable: true };
    if (gfn === BigInt(READ_ONLY)) return { pfn: BigInt(this.hostFrames[0]!), writable: false };
    if (gfn === BigInt(NO_BYTES)) return { pfn: 0x100009n, writable: true };
    return gfn >> 9n === 1n ? { pfn: 0x100200n + gfn - 512n, writable: true } : null;
  }

  read(gpa: bigint): bigint {
    const frame = gpa >> 12n === BigInt(READ_ONLY) ? gpa & 0xfffn : gpa;
    return this.words.get(frame) ?? 0n;
  }

  set(gpa: bigint, flags: bigint): void {
    this.words.set(gpa, this.read(gpa) | flags);
  }

  /** Words that are not what the reference made of them. */
  differences(): string[] {
    return [...this.words].flatMap(([gpa, value]) => {
      const found = this.rig.cpu.readOnce(this.host(Number(gpa) / 4096, (Number(gpa) % 4096) / 8));
      return found === value ? [] : [`${gpa.toString(16)}: ${found.toString(16)} for ${value.toString(16)}`];
    });
  }

  private host(gfn: number, slot: number): Address {
    return (this.hostFrames[Math.floor(gfn)]! * 4096 + slot * 8) as Address;
  }
}

it("walks tables of garbage as a slow reference does", () => {
  const outcomes = { pfn: 0, guestFault: 0, violation: 0 };
  fc.assert(
    fc.property(
      state,
      fc.array(fc.array(entry, { minLength: SLOTS.length, maxLength: SLOTS.length }), {
        minLength: FRAMES,
        maxLength: FRAMES,
      }),
      fc.array(pdpte, { minLength: 4, maxLength: 4 }),
      fc.array(access, { minLength: 20, maxLength: 20 }),
      (registers, frames, pdptes, accesses) => {
        const rig = new Rig("ept");
        const memory = new Memory(rig);
        for (const [gfn, entries] of frames.entries()) {
          for (const [index, value] of entries.entries()) memory.fill(gfn, SLOTS[index]!, value);
        }
        if (registers.mode === "pae" && registers.cr3 < FRAMES * 4096) {
          for (const [slot, value] of pdptes.entries()) memory.fill(registers.cr3 / 4096, slot, value);
        }
        const vcpu = rig.vcpu();
        vcpu.setGuestPaging(rig.cpu, registers);
        for (const { indices, offset, kind } of accesses) {
          const gva = addressOf(registers, indices, offset);
          const expected = referenceWalk(memory, registers, BigInt(gva), kind);
          const result = vcpu.access(rig.cpu, gva, kind);
          if ("pfn" in expected) {
            outcomes.pfn++;
            expect(result).toBe(Number(expected.pfn));
          } else if ("guestFault" in expected) {
            outcomes.guestFault++;
            expect(result).toBe(ACCESS_GUEST_PAGE_FAULT);
            expect(vcpu.lastGuestFault(rig.cpu)).toEqual({ gva, errorCode: expected.guestFault });
          } else {
            outcomes.violation++;
            expect(result).toBe(ACCESS_EMULATE);
            const { gpa, errorCode } = rig.faults.at(-1)!;
            expect(gpa).toBe(Number(expected.violation));
            expect((errorCode >> 33n) & 1n).toBe(expected.guestPage ? 1n : 0n);
            expect((errorCode >> 32n) & 1n).toBe(expected.guestPage ? 0n : 1n);
          }
          expect(memory.differences()).toEqual([]);
          // Flags are set by walks, not by hits.
          vcpu.flushGuestTlb(rig.cpu);
        }
      },
    ),
    { numRuns: 300 },
  );
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(100);
});
