import { LockGraph, offset, withAddressSanitizer, withLockdep } from "@kvm-age/machine";
import {
  type Gfn,
  isAccessedSpte,
  isLargePte,
  isShadowPresentPte,
  isWritablePte,
  PFERR_PRESENT_MASK,
  PFERR_WRITE_MASK,
  type Spte,
} from "@kvm-age/spte";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkTdpMmuInvariants,
  kvmMmuFreeObsoleteRoots,
  kvmMmuLoad,
  kvmTdpMmuTrySplitHugePages,
} from "../../src/index.js";
import { Guest, SLOT_GFN } from "../kit/guest.js";
import { age, dirtyBit, harvestDirtyLog, path, testAge, underReadLock, unmap } from "../kit/operations.js";
import { EVERY_FORMAT, type ReferenceFormat } from "../kit/reference-values.js";
import { PageModel, REGION, REGIONS } from "./page-model.js";

const PAGES = REGION * REGIONS;

/** The TDP MMU and the model, driven side by side. */
class Pair {
  readonly guest: Guest;
  readonly model: PageModel;
  /** Bits an entry needs for a read, and A as hardware sets it. */
  private readonly adBits: boolean;

  constructor(reference: ReferenceFormat, eagerPageSplit: boolean) {
    const graph = new LockGraph();
    this.guest = new Guest({
      ...reference.init,
      arenaBytes: 16 << 20,
      options: { eagerPageSplit },
      wrapCpu: (cpu, machine) => withLockdep(graph)(withAddressSanitizer(machine.frames)(cpu)),
    });
    this.adBits = reference.adBits;
    this.model = new PageModel(reference.adBits, eagerPageSplit);
  }

  /** The guest's access: hardware uses the entry if it allows it, else faults, and tries again. */
  access(page: number, write: boolean): void {
    for (let attempt = 0; attempt < 3 && !this.hardwareAccess(page, write); attempt++) {
      const present = (this.guest.spte(page) & 7n) !== 0n && isShadowPresentPte(this.guest.spte(page));
      const code = (present ? PFERR_PRESENT_MASK : 0) | (write ? PFERR_WRITE_MASK : 0);
      this.guest.faultWithCode(page, code);
    }
    expect(this.hardwareAccess(page, write)).toBe(true);
    this.model.access(page, write);
  }

  /** What the processor does with the entry: sets A, and D on a write, where it has them. */
  private hardwareAccess(page: number, write: boolean): boolean {
    const { spte, level, sptep } = this.guest.entry(page);
    const leaf = isShadowPresentPte(spte) && (level === 1 || isLargePte(spte));
    if (!leaf || (spte & 1n) === 0n || (write && !isWritablePte(spte))) return false;
    const { shadowAccessedMask, shadowDirtyMask } = this.guest.format;
    if (this.adBits) {
      this.guest.cpu.fetchOr(sptep as never, shadowAccessedMask | (write ? shadowDirtyMask : 0n), "full");
    }
    return true;
  }

  age(start: number, end: number): void {
    expect(age(this.guest, start, end)).toBe(this.model.age(start, end));
  }

  testAge(start: number, end: number): void {
    expect(testAge(this.guest, start, end)).toBe(this.model.testAge(start, end));
  }

  unmap(start: number, end: number): void {
    unmap(this.guest, start, end);
    this.model.unmap(start, end);
  }

  split(start: number, end: number): void {
    const { guest } = this;
    const [first, last] = [(SLOT_GFN + start) as Gfn, (SLOT_GFN + end) as Gfn];
    underReadLock(guest, guest.cpu, () =>
      kvmTdpMmuTrySplitHugePages(guest.mmu, guest.cpu, guest.slot, first, last, 1, true),
    );
    this.model.splitRange(start, end);
  }

  setLogging(on: boolean): void {
    this.guest.setSlot(on ? 1 : 0);
    if (on) this.model.startLogging();
    else this.model.stopLogging();
  }

  harvest(): void {
    if (!this.model.logging) return;
    expect(harvestDirtyLog(this.guest)).toEqual(this.model.harvest());
  }

  setHostLevel(level: 1 | 2): void {
    this.guest.host.level = level;
    this.model.hostLevel = level;
  }

  newSlot(): void {
    const { guest } = this;
    guest.deleteSlot();
    guest.setSlot(0);
    kvmMmuFreeObsoleteRoots(guest.mmu, guest.cpu, guest.vcpu);
    kvmMmuLoad(guest.mmu, guest.cpu, guest.vcpu);
    this.model.newSlot();
  }

  /** Compares every page, and asks the checker. */
  compare(): void {
    for (let region = 0; region < REGIONS; region++) {
      const [want, got] = [this.wanted(region), this.found(region)];
      if (want !== got) throw new Error(`region ${region}: ${got}, model says ${want}`);
    }
    expect(checkTdpMmuInvariants(this.guest.mmu, this.guest.cpu)).toEqual([]);
    if (!this.model.logging) return;
    for (const page of this.model.dirty) expect(dirtyBit(this.guest, page)).toBe(true);
  }

  private wanted(region: number): string {
    const first = region * REGION;
    const state = this.model.regions[region]!;
    if (state.kind === "huge") return `huge ${letters(state.young, state.writable)}`;
    if (state.kind === "none") return "";
    return Array.from({ length: REGION }, (_, index) => {
      const page = state.pages.get(first + index);
      return page === undefined ? "" : `${index}${letters(page.young, page.writable)}`;
    }).join("");
  }

  private found(region: number): string {
    const { guest } = this;
    const lowest = path(guest, region * REGION).at(-1)!;
    if (lowest.level > 1) {
      return isShadowPresentPte(lowest.spte) ? `huge ${this.lettersOf(lowest.spte)}` : "";
    }
    return Array.from({ length: REGION }, (_, index) => {
      const spte = guest.cpu.readOnce(offset(lowest.sptep, index * 8)) as Spte;
      return isShadowPresentPte(spte) ? `${index}${this.lettersOf(spte)}` : "";
    }).join("");
  }

  private lettersOf(spte: Spte): string {
    return letters(isAccessedSpte(this.guest.format, spte), isWritablePte(spte));
  }
}

function letters(young: boolean, writable: boolean): string {
  return `${young ? "y" : "o"}${writable ? "w" : "r"} `;
}

type Step = (pair: Pair) => void;

const page = fc.oneof(fc.nat(PAGES - 1), fc.constantFrom(0, 1, 511, 512, 513, 1023, 1024, PAGES - 1));
const bounds = fc.tuple(fc.nat(PAGES), fc.nat(PAGES)).map((pair) => pair.sort((left, right) => left - right));
const nearby = fc.tuple(page, fc.integer({ min: 1, max: 8 })).map(([at, count]) => [at, at + count]);
const range = fc.oneof(bounds, nearby).map(([start, end]) => [start!, Math.min(end!, PAGES)] as const);

const access = fc.tuple(page, fc.boolean()).map(
  ([at, write]): Step =>
    (pair) =>
      pair.access(at, write),
);
const onRange = (run: (pair: Pair, start: number, end: number) => void): fc.Arbitrary<Step> =>
  range.map(
    ([start, end]) =>
      (pair) =>
        run(pair, start, end),
  );

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: access },
  { weight: 3, arbitrary: onRange((pair, start, end) => pair.age(start, end)) },
  { weight: 1, arbitrary: onRange((pair, start, end) => pair.testAge(start, end)) },
  { weight: 1, arbitrary: onRange((pair, start, end) => pair.unmap(start, end)) },
  { weight: 1, arbitrary: onRange((pair, start, end) => pair.split(start, end)) },
  {
    weight: 2,
    arbitrary: fc.boolean().map(
      (on): Step =>
        (pair) =>
          pair.setLogging(on),
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>((pair) => pair.harvest()) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(1 as const, 2 as const).map(
      (level): Step =>
        (pair) =>
          pair.setHostLevel(level),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((pair) => pair.newSlot()) },
);

describe.each(EVERY_FORMAT)("any sequence of operations, $name", (reference) => {
  it.each([true, false])("agrees with the model, eager page split %s", (eager) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 25 }), (steps) => {
        const pair = new Pair(reference, eager);
        for (const run of steps) {
          run(pair);
          pair.compare();
        }
      }),
      { numRuns: 8, seed: 20261122 },
    );
  });
});
