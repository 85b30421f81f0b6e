import { RetPf } from "@kvm-age/page-fault";
import { linux73, linux615, spteToPfn } from "@kvm-age/spte";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kvmWriteGuestPte } from "../../src/guest-write/kvm-write-guest-pte.js";
import { kvmInitShadowEptMmu } from "../../src/vcpu/kvm-init-shadow-ept-mmu.js";
import { ShadowGuest } from "../kit/shadow-guest.js";
import { violations } from "./kit/check.js";
import { EPT_A, EPT_D, EPT_R, EPT_RWX, EPT_W, EPT_WB, EPT_X, EPT_XU, PS } from "./kit/guest-tables.js";
import {
  type ReferenceEptAccess,
  type ReferenceEptMode,
  referenceEptWalk,
} from "./kit/reference-ept-walk.js";
import { leafOf } from "./kit/shadow-path.js";

const PAGES = 16;
const FILLED = 2;
const MAX_PHY_ADDR = 46;

interface EptEntry {
  /** Flags of an entry that points to a table; those of a leaf have a memory type besides. */
  readonly flips: bigint;
  readonly frame: number;
  readonly raw: bigint | null;
}

interface EptStep {
  readonly addr: number;
  readonly access: ReferenceEptAccess;
  readonly store: { readonly page: number; readonly index: number; readonly value: bigint } | null;
}

interface EptGuest {
  readonly level: 4 | 5;
  readonly accessedDirty: boolean;
  readonly executeOnly: boolean;
  readonly modeBased: boolean;
  readonly modern: boolean;
  readonly entries: readonly EptEntry[];
  readonly steps: readonly EptStep[];
}

const any64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const index = fc.oneof({ weight: 20, arbitrary: fc.nat(FILLED - 1) }, { weight: 1, arbitrary: fc.nat(511) });
const flips = fc
  .array(fc.constantFrom(EPT_R, EPT_W, EPT_X, EPT_XU, EPT_A, EPT_D, PS, 8n, 0x30n), { maxLength: 2 })
  .map((bits) => bits.reduce((all, bit) => all ^ bit, 0n));
const entry: fc.Arbitrary<EptEntry> = fc.record({
  flips: fc.oneof({ weight: 4, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: flips }),
  frame: fc.nat(PAGES - 1),
  raw: fc.oneof({ weight: 20, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: any64 }),
});
const addr = fc
  .tuple(index, index, index, index, index)
  .map((indices) => indices.reduce((sum, at) => (sum % 2 ** 32) * 512 + at, 0) * 4096);
const step: fc.Arbitrary<EptStep> = fc.record({
  addr,
  access: fc.constantFrom("read", "write", "write", "fetch", "user-fetch"),
  store: fc.option(
    fc.record({
      page: fc.nat(PAGES - 1),
      index,
      value: fc.oneof(
        fc.tuple(fc.nat(PAGES - 1), flips).map(([gfn, bits]) => (BigInt(gfn) << 12n) | (EPT_RWX ^ bits)),
        any64,
      ),
    }),
    { freq: 6 },
  ),
});
const eptGuest: fc.Arbitrary<EptGuest> = fc.record({
  level: fc.constantFrom(4 as const, 5 as const),
  accessedDirty: fc.boolean(),
  executeOnly: fc.boolean(),
  modeBased: fc.boolean(),
  modern: fc.boolean(),
  entries: fc.array(entry, { minLength: PAGES * FILLED, maxLength: PAGES * FILLED }),
  steps: fc.array(step, { minLength: 10, maxLength: 40 }),
});

/** First page of each depth below the root; the pages behind the last are data. */
const DEPTHS = [0, 1, 3, 6, 9, 12] as const;

/** Tables lead to those of the next depth, the last ones to any page. */
function initialEntry(page: number, level: number, { flips: bits, frame, raw }: EptEntry): bigint {
  if (raw !== null) return raw;
  const depth = DEPTHS.findLastIndex((first) => page >= first);
  if (depth >= level - 1) return (BigInt(frame) << 12n) | ((EPT_RWX | EPT_XU | EPT_WB) ^ bits);
  const first = DEPTHS[depth + 1]!;
  const next = first + (frame % (DEPTHS[depth + 2]! - first));
  return (BigInt(next) << 12n) | ((EPT_RWX | EPT_XU) ^ bits);
}

function makeGuest(init: EptGuest): { guest: ShadowGuest; mode: ReferenceEptMode } {
  const ruleSet = init.modern ? linux73 : linux615;
  const guest = new ShadowGuest({
    mode: "ept",
    ruleSet,
    hostLevel: 5,
    backedPages: PAGES,
    slotPages: PAGES,
    arenaBytes: 16 << 20,
  });
  for (const [at, each] of init.entries.entries()) {
    const page = Math.floor(at / FILLED);
    guest.poke(page * 4096 + (at % FILLED) * 8, initialEntry(page, init.level, each));
  }
  // 6.15 has neither the control nor, on this host, the capability.
  const mode = {
    levels: init.level,
    root: 0,
    executeOnly: init.executeOnly && init.modern,
    modeBased: init.modeBased && init.modern,
    maxPhyAddr: MAX_PHY_ADDR,
  };
  const eptp = 6 + ((init.level - 1) << 3) + (init.accessedDirty ? 1 << 6 : 0);
  const l1 = { eptp, executeOnly: mode.executeOnly, modeBasedExecute: mode.modeBased };
  guest.inSrcu(() => kvmInitShadowEptMmu(guest.mmu, guest.cpu, guest.vcpu, l1));
  return { guest, mode };
}

/** Error-code form of an access, as the hardware's fault comes to KVM. */
function errorCodeOf(access: ReferenceEptAccess): number {
  return { read: 4, write: 2, fetch: 16, "user-fetch": 20 }[access];
}

function runStep(
  guest: ShadowGuest,
  mode: ReferenceEptMode,
  init: EptGuest,
  { addr: any, access, store }: EptStep,
): void {
  const { mmu, cpu, vcpu } = guest;
  guest.reload();
  const at = any % 2 ** (mode.levels === 5 ? 53 : 48);
  const read = (gpa: number) => (gpa < PAGES * 4096 ? guest.peek(gpa) : null);
  const expected = referenceEptWalk(read, mode, at, access);
  const { ret, guestFault, errno } = guest.fault(at, errorCodeOf(access));
  expect(errno).toBeNull();
  if (expected === "misconfiguration") {
    expect(guestFault).toMatchObject({ address: at, nested: true });
    expect([guestFault!.errorCode & 9, guestFault!.exitQualification]).toEqual([9, undefined]);
  } else if ("qualification" in expected) {
    // A fetch that is a user's carries the U bit, which before 7.3 means a read.
    const asRead = init.modern || access !== "user-fetch" ? 0 : 1;
    expect(guestFault?.exitQualification).toBe(BigInt(expected.qualification | asRead));
  } else {
    expect(guestFault).toBeNull();
    if (init.accessedDirty) for (const gpa of expected.path) expect(guest.peek(gpa) & EPT_A).toBe(EPT_A);
    const leaf = leafOf(guest, at);
    if (ret === RetPf.fixed || ret === RetPf.spurious) {
      expect(spteToPfn(guest.format, leaf!.spte)).toBe(guest.host.pfnOf(expected.frame));
    } else {
      expect([RetPf.retry, RetPf.emulate]).toContain(ret);
    }
  }
  if (store !== null) {
    guest.inSrcu(() => kvmWriteGuestPte(mmu, cpu, vcpu, store.page * 4096 + store.index * 8, 8, store.value));
  }
  expect(violations(guest)).toEqual([]);
}

const GUESTS = 60;

describe("whatever L1's EPT holds", () => {
  it("a fault of L2 ends in what the manual says, and no rule of the shadow pages is broken", {
    timeout: 120_000,
  }, () => {
    fc.assert(
      fc.property(eptGuest, (init) => {
        const { guest, mode } = makeGuest(init);
        for (const next of init.steps) runStep(guest, mode, init, next);
      }),
      { numRuns: GUESTS },
    );
  });
});
