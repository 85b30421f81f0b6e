import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkHostMmInvariants } from "../src/index.js";
import { at, guestTouch, isIdle, makeHost, markIdle, PAGE } from "./support.js";

const PAGES = 1024;

type Step =
  | { kind: "guest"; page: number; write: boolean }
  | { kind: "user"; page: number; write: boolean }
  | { kind: "idle"; page: number }
  | { kind: "split"; page: number }
  | { kind: "reclaim"; target: number; onlyIdle: boolean }
  | { kind: "dontneed"; page: number; count: number }
  | { kind: "protect"; page: number; count: number }
  | { kind: "munmap"; page: number; count: number }
  | { kind: "drain" };

const page = fc.oneof(fc.nat(PAGES - 1), fc.nat(15));
const count = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constant(512));
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom("guest" as const, "user" as const),
      page,
      write: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("idle" as const, "split" as const), page }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("reclaim" as const),
      target: fc.integer({ min: 1, max: 40 }),
      onlyIdle: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("dontneed" as const, "protect" as const, "munmap" as const),
      page,
      count,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("drain" as const) }) },
);

/** What a user of the memory may rely on: which pages exist, may be written, and what was written last. */
class Model {
  readonly tokens: bigint[] = new Array<bigint>(PAGES).fill(0n);
  readonly writable: boolean[] = new Array<boolean>(PAGES).fill(true);
  readonly mapped: boolean[] = new Array<boolean>(PAGES).fill(true);

  isMapped(first: number, end: number): boolean {
    return this.mapped.slice(first, end).every(Boolean);
  }
}

function run(thp: boolean, steps: readonly Step[]): void {
  const host = makeHost({
    pages: 1300,
    swapSlots: thp ? 2048 : 700,
    transparentHugePages: thp,
    // Parts of huge folios that nobody maps any more come back by reclaim only.
    directReclaim: thp,
  });
  const { hostMm, cpu } = host;
  const base = hostMm.mmapAnonymous(cpu, PAGES * PAGE, { thp });
  const model = new Model();
  let nextToken = 1n;
  const touch = (kind: "guest" | "user", page: number, write: boolean): void => {
    const hva = at(base, page);
    if (!model.mapped[page] || (write && !model.writable[page])) {
      expect(
        hostMm.hvaToPfn(cpu, hva, { write, allowWritable: true, noWait: false, interruptible: false }),
      ).toEqual({
        error: "fault",
      });
      return;
    }
    if (kind === "user") hostMm.userAccess(cpu, hva, write);
    const pfn = kind === "guest" ? guestTouch(host, hva, write) : (hostMm.pagemapLookup(cpu, hva) as never);
    expect(hostMm.readContent(cpu, pfn)).toBe(model.tokens[page]);
    if (!write) return;
    hostMm.writeContent(cpu, pfn, nextToken);
    model.tokens[page] = nextToken++;
  };
  const change = (kind: "dontneed" | "protect" | "munmap", first: number, pages: number): void => {
    const end = Math.min(PAGES, first + pages);
    const bytes = (end - first) * PAGE;
    if (kind !== "munmap" && !model.isMapped(first, end)) return;
    if (kind === "protect") {
      const writable = !model.writable[first];
      hostMm.mprotect(cpu, at(base, first), bytes, writable);
      model.writable.fill(writable, first, end);
      return;
    }
    if (kind === "munmap") hostMm.munmap(cpu, at(base, first), bytes);
    else hostMm.madviseDontneed(cpu, at(base, first), bytes);
    model.mapped.fill(kind === "dontneed", first, end);
    model.tokens.fill(0n, first, end);
  };
  for (const next of steps) {
    if (next.kind === "guest" || next.kind === "user") touch(next.kind, next.page, next.write);
    else if (next.kind === "reclaim") hostMm.reclaimPages(cpu, next);
    else if (next.kind === "drain") hostMm.lruAddDrainAll(cpu);
    else if (next.kind === "split") hostMm.splitHugePmd(cpu, at(base, next.page));
    else if (next.kind === "idle") {
      const pfn = hostMm.pagemapLookup(cpu, at(base, next.page));
      if (pfn !== -1) {
        markIdle(host, pfn);
        isIdle(host, pfn);
      }
    } else change(next.kind, next.page, next.count);
    expect(checkHostMmInvariants(hostMm, host.rawCpu)).toEqual([]);
  }
  for (let page = 0; page < PAGES; page++) touch("guest", page, false);
  hostMm.exitMmap(cpu);
  expect(checkHostMmInvariants(hostMm, host.rawCpu)).toEqual([]);
  expect(hostMm.counts(cpu)).toMatchObject({ rss: 0, usedSwapSlots: 0, inactivePages: 0, activePages: 0 });
}

describe("random histories against a plain model", () => {
  it.each([false, true])(
    "loses nothing and keeps every invariant (huge pages: %s)",
    (thp) => {
      fc.assert(
        fc.property(fc.array(step as fc.Arbitrary<Step>, { minLength: 1, maxLength: 40 }), (steps) =>
          run(thp, steps),
        ),
        { numRuns: 30, seed: 20261122 },
      );
    },
    120_000,
  );
});
