import fc from "fast-check";
import { describe, it } from "vitest";
import { FILLED, type Garbage, GarbageGuest, type Step, TABLE_PAGES } from "./kit/garbage-guest.js";
import { A, D, NX, P, PS, U, W } from "./kit/guest-tables.js";

const any64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const index = fc.oneof({ weight: 20, arbitrary: fc.nat(FILLED - 1) }, { weight: 1, arbitrary: fc.nat(511) });
const frame = fc.oneof(
  { weight: 24, arbitrary: fc.nat(TABLE_PAGES - 1) },
  { weight: 3, arbitrary: fc.constantFrom(0, 0x200, 0x400) },
  { weight: 1, arbitrary: fc.nat(0xffff) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 33, 2 ** 39 + 5) },
);
/** Mostly none. */
const flips = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0n) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.constantFrom(P, W, U, A, D, PS, NX), { minLength: 1, maxLength: 2 })
      .map((bits) => bits.reduce((all, bit) => all ^ bit, 0n)),
  },
);
const entry = fc.record({
  pick: fc.nat(0xffff),
  flips,
  large: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  raw: fc.oneof({ weight: 20, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: any64 }),
});
const value = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .tuple(frame, flips)
      .map(([gfn, bits]) => (BigInt(gfn) << 12n) | ((P | W | U | A | D) ^ bits)),
  },
  { weight: 1, arbitrary: fc.constant(0n) },
  { weight: 1, arbitrary: any64 },
);
const addr = fc
  .tuple(index, index, index, index, index)
  .map((indices) => indices.reduce((sum, at) => (sum % 2 ** 32) * 512 + at, 0) * 4096);

const access: fc.Arbitrary<Step> = fc
  .record({
    addr,
    how: fc.constantFrom("read", "write", "write", "write", "fetch"),
    user: fc.boolean(),
    store: fc.option(fc.record({ index, value })),
  })
  .map(({ addr: at, how, user, store }) => ({
    kind: "access",
    addr: at,
    write: how === "write",
    fetch: how === "fetch",
    user,
    store,
  }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: access },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("emulated-store" as const),
      page: fc.nat(TABLE_PAGES - 1),
      index,
      value,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("invlpg" as const), addr }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cr3" as const) }) },
);

const rarely = fc.oneof(
  { weight: 3, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
);
const garbage: fc.Arbitrary<Garbage> = fc.record({
  levels: fc.constantFrom(3 as const, 4 as const, 5 as const),
  flags: fc.tuple(fc.boolean(), fc.boolean(), rarely, rarely),
  modern: fc.boolean(),
  nxHugePages: fc.boolean(),
  mmio: fc.boolean(),
  entries: fc.array(entry, { minLength: TABLE_PAGES * FILLED, maxLength: TABLE_PAGES * FILLED }),
});

const GUESTS = 100;

describe("whatever the guest's tables hold", () => {
  it("a fault ends in what the manual says, a flush leaves nothing stale, no rule of the shadow pages is broken", {
    timeout: 120_000,
  }, () => {
    fc.assert(
      fc.property(garbage, fc.array(step, { minLength: 20, maxLength: 60 }), (init, steps) => {
        const guest = new GarbageGuest(init);
        for (const next of steps) guest.run(next);
      }),
      { numRuns: GUESTS },
    );
  });
});
