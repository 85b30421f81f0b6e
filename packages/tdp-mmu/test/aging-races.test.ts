import { type Cpu, type TraceEvent, traceTo } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import { type Gfn, isFrozenSpte, isShadowPresentPte, linux615 } from "@kvm-age/spte";
import { InterferingCpu } from "@kvm-age/test-kit";
import { describe, expect, it } from "vitest";
import { checkTdpMmuInvariants, kvmTdpMmuTrySplitHugePages, type LeafScan } from "../src/index.js";
import { Guest, SLOT_GFN } from "./kit/guest.js";
import { age, entriesOf, leaves, PRESENT, sptepAt, tableOf, underReadLock, WRITE } from "./kit/operations.js";
import { FORMATS, ofPage, type ReferenceFormat, withPfn } from "./kit/reference-values.js";

const PAGE = 3;
const NOT_PRESENT = 0x8000000000000000n;
const W = 2n;
const SCANS: readonly LeafScan[] = ["iterator", "native"];

/** What another thread stored between the ager's look and its write, and what is left after that write. */
interface Row {
  readonly name: string;
  /** Value of the entry when the ager looks. */
  readonly looked: (reference: ReferenceFormat) => bigint;
  readonly stored: (reference: ReferenceFormat) => bigint;
  /** Left by the unconditional AND. */
  readonly afterAnd: (reference: ReferenceFormat) => bigint;
  /** Left by the compare-exchange; absent: what was stored. */
  readonly afterCmpxchg?: (reference: ReferenceFormat) => bigint;
}

const young = (reference: ReferenceFormat): bigint => ofPage(reference.demand, PAGE);
const other = (reference: ReferenceFormat): bigint => withPfn(reference.demand, 0x777777);
const cleared = (value: bigint, reference: ReferenceFormat): bigint => value & ~reference.accessedBit;

const ROWS: readonly Row[] = [
  { name: "zapped", looked: young, stored: () => NOT_PRESENT, afterAnd: () => NOT_PRESENT },
  {
    name: "zapped and mapped again with the same value",
    looked: young,
    stored: young,
    afterAnd: (reference) => ofPage(reference.aged, PAGE),
    afterCmpxchg: (reference) => ofPage(reference.aged, PAGE),
  },
  {
    name: "zapped and mapped again to another frame",
    looked: young,
    stored: other,
    afterAnd: (reference) => cleared(other(reference), reference),
  },
  {
    name: "dirtied by hardware",
    looked: (reference) => young(reference) & ~reference.dirtyBit,
    stored: young,
    afterAnd: (reference) => cleared(young(reference), reference),
  },
  {
    name: "made writable by a fast page fault",
    looked: (reference) => young(reference) & ~W,
    stored: young,
    afterAnd: (reference) => cleared(young(reference), reference),
  },
  {
    name: "write-protected for dirty logging",
    looked: young,
    stored: (reference) => young(reference) & ~W,
    afterAnd: (reference) => cleared(young(reference) & ~W, reference),
  },
  {
    name: "cleared of D for dirty logging",
    looked: young,
    stored: (reference) => young(reference) & ~reference.dirtyBit,
    afterAnd: (reference) => cleared(young(reference) & ~reference.dirtyBit, reference),
  },
  {
    name: "aged by another thread",
    looked: young,
    stored: (reference) => ofPage(reference.aged, PAGE),
    afterAnd: (reference) => ofPage(reference.aged, PAGE),
  },
  {
    name: "frozen",
    looked: young,
    stored: (reference) => reference.frozen,
    afterAnd: (reference) => cleared(reference.frozen, reference),
  },
  {
    name: "replaced by an MMIO entry whose generation has the A bit",
    looked: young,
    stored: (reference) => 0x12345006n | reference.accessedBit,
    afterAnd: () => 0x12345006n,
  },
];

function usesAnd(reference: ReferenceFormat): boolean {
  return reference.ruleSet === linux615 && reference.adBits;
}

interface Race {
  readonly young: boolean;
  readonly left: bigint;
  readonly events: (readonly [unknown, unknown])[];
}

/** Ages `PAGE` while another thread stores `row.stored` right before the ager's write. */
function race(reference: ReferenceFormat, row: Row, scan: LeafScan, tracing: boolean): Race {
  const guest = new Guest({ ...reference.init, options: { leafScan: scan } });
  guest.fault(PAGE, true);
  const address = sptepAt(guest, PAGE, 1);
  guest.cpu.writeOnce(address, row.looked(reference));
  const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
  const act = (): void => guest.cpu.writeOnce(address, row.stored(reference));
  const interfering = new InterferingCpu(guest.cpu, [{ step, address, act }]);
  const events: (readonly [unknown, unknown])[] = [];
  const sink = (_cpu: number, { fields }: TraceEvent): void =>
    void events.push([fields.old_spte, fields.new_spte]);
  const cpu: Cpu = tracing ? traceTo(sink)(interfering) : interfering;
  const result = age(guest, PAGE, PAGE + 1, cpu);
  expect(interfering.happened).toBe(1);
  return { young: result, left: guest.cpu.readOnce(address), events };
}

describe.each(FORMATS)("between look and write, $name", (reference) => {
  describe.each(ROWS)("$name", (row) => {
    const left = usesAnd(reference) ? row.afterAnd(reference) : (row.afterCmpxchg ?? row.stored)(reference);

    it.each(SCANS)("counts as young and leaves the right value, %s", (scan) => {
      expect(race(reference, row, scan, false)).toMatchObject({ young: true, left });
    });

    it("is traced as what really happened", () => {
      const { events } = race(reference, row, "native", true);
      const stored = row.stored(reference);
      if (usesAnd(reference)) expect(events).toEqual([[stored, cleared(stored, reference)]]);
      else expect(events).toEqual(row.afterCmpxchg === undefined ? [] : [[stored, left]]);
    });
  });
});

describe.each(FORMATS)("a huge page split under the ager, $name", (reference) => {
  it.each(SCANS)("leaves the children young that the walk does not reach, %s", (scan) => {
    const guest = new Guest({ ...reference.init, options: { leafScan: scan } });
    guest.host.level = 2;
    guest.fault(700, true);
    const address = sptepAt(guest, 700, 2);
    const split = (): void =>
      underReadLock(guest, guest.cpu, () =>
        kvmTdpMmuTrySplitHugePages(
          guest.mmu,
          guest.cpu,
          guest.slot,
          SLOT_GFN,
          (SLOT_GFN + 2048) as Gfn,
          1,
          true,
        ),
      );
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const cpu = new InterferingCpu(guest.cpu, [{ step, address, act: split }]);
    expect(age(guest, 700, 701, cpu)).toBe(true);
    expect(cpu.happened).toBe(1);
    const child = sptepAt(guest, 512, 1);
    const table = withPfn(reference.table, Math.floor(child / 4096));
    expect(guest.cpu.readOnce(address)).toBe(usesAnd(reference) ? cleared(table, reference) : table);
    // The iterator looks again before it steps down, finds the table and goes on to the page it was sent for; the native
    // loop, which went no further than the 2M entry, is done.
    const entered = scan === "iterator" || !reference.adBits;
    const old = entriesOf(guest, tableOf(child)).flatMap((spte, index) =>
      (spte & reference.accessedBit) === 0n ? [index] : [],
    );
    expect(old).toEqual(entered ? [700 - 512] : []);
  });
});

describe.each(FORMATS)("a table replaced by a huge page under the ager (hazard D1), $name", (reference) => {
  it.each(SCANS)("loses a sentinel to the AND and never to the compare-exchange, %s", (scan) => {
    const guest = new Guest({ ...reference.init, options: { leafScan: scan } });
    for (const page of [512, 513]) guest.fault(page, true);
    const address = sptepAt(guest, 512, 1);
    guest.host.level = 2;
    const step = usesAnd(reference) ? "fetchAnd" : "cmpxchg";
    const act = (): void => void guest.faultWithCode(800, WRITE);
    const cpu = new InterferingCpu(guest.cpu, [{ step, address, act }]);
    expect(age(guest, 512, 514, cpu)).toBe(true);
    expect(cpu.happened).toBe(1);
    const left = guest.cpu.readOnce(address) as never;
    expect(isShadowPresentPte(left)).toBe(false);
    expect(isFrozenSpte(guest.format, left)).toBe(!usesAnd(reference));
    // The damage stays in the dead table: the tree holds the huge page, still young, and the counters are right.
    const dead = entriesOf(guest, tableOf(address));
    expect(dead.filter((spte) => spte !== reference.frozen)).toHaveLength(usesAnd(reference) ? 1 : 0);
    expect(guest.spte(512)).toBe(ofPage(reference.huge, 512));
    expect(leaves(guest)).toEqual([0, 1, 0]);
    guest.cpu.rcuBarrier();
  });

  it("spoils the sentinel to the value the constants give", () => {
    const spoiled = cleared(reference.frozen, reference) & 0xfffn;
    const expected = new Map([
      ["6.15 EPT", 0x4a0n],
      ["6.15 NPT", 0x580n],
    ]).get(reference.name);
    if (usesAnd(reference)) expect(spoiled).toBe(expected);
    else expect(expected).toBeUndefined();
  });
});

describe.each(FORMATS)("a fault that still stands in the dead table, $name", (reference) => {
  it("maps over a spoiled sentinel, which leaves an orphan behind, and never over a whole one", () => {
    const guest = new Guest(reference.init);
    guest.fault(512, true);
    const address = sptepAt(guest, 513, 1);
    const spoilt = usesAnd(reference);
    // Before the fault reads its entry: the table is replaced, then the AND of a late ager lands.
    const act = (cpu: Cpu): void => {
      guest.host.level = 2;
      guest.faultWithCode(800, WRITE);
      if (spoilt) cpu.fetchAnd(address, BigInt.asUintN(64, ~reference.accessedBit), "full");
    };
    // Without hardware A/D bits the fast path looks first.
    const nth = reference.adBits ? 1 : 2;
    const cpu = new InterferingCpu(guest.cpu, [{ step: "readOnce", address, act, nth }]);
    expect(guest.faultWithCode(513, WRITE, cpu)).toBe(spoilt ? RetPf.fixed : RetPf.retry);
    expect(cpu.happened).toBe(1);
    const orphan = ["level 1: 1 leaves counted, 0 found"];
    expect(checkTdpMmuInvariants(guest.mmu, guest.cpu)).toEqual(spoilt ? orphan : []);
  });
});

it("an early answer 'old' on a page mapped again is the only effect: a later access makes it young again", () => {
  const reference = FORMATS.find(({ name }) => name === "6.15 EPT")!;
  const guest = new Guest(reference.init);
  guest.fault(PAGE, true);
  age(guest, PAGE, PAGE + 1);
  expect(age(guest, PAGE, PAGE + 1)).toBe(false);
  guest.cpu.fetchOr(sptepAt(guest, PAGE, 1), reference.accessedBit, "full");
  expect(guest.faultWithCode(PAGE, PRESENT | WRITE)).toBe(6);
  expect(age(guest, PAGE, PAGE + 1)).toBe(true);
});
