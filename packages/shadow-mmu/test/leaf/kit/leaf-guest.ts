import { type Address, type Cpu, type LockdepCpu, offset, withAddressSanitizer } from "@kvm-age/machine";
import {
  type Hva,
  type KvmGfnRange,
  kvmGetDirtyLog,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  slotDirtyBitmap,
} from "@kvm-age/memslot";
import type { RetPf } from "@kvm-age/page-fault";
import { type Gfn, PFERR_PRESENT_MASK, PFERR_WRITE_MASK, type Spte } from "@kvm-age/spte";
import { expect } from "vitest";
import { kvmShadowAgeGfn, kvmShadowTestAgeGfn } from "../../../src/aging/kvm-shadow-age-gfn.js";
import { checkShadowPageInvariants } from "../../../src/check/check-shadow-page-invariants.js";
import { checkShadowSpteInvariants } from "../../../src/check/check-shadow-spte-invariants.js";
import type { ShadowFaultResult } from "../../../src/fault/shadow-fault-result.js";
import { ShadowWalkIterator } from "../../../src/walk/shadow-walk-iterator.js";
import { kvmShadowUnmapGfnRange } from "../../../src/zap/kvm-shadow-unmap-gfn-range.js";
import { HOST_BASE } from "../../guest/kit/byte-host.js";
import { longMode } from "../../guest/kit/registers.js";
import { ShadowGuest, type ShadowGuestInit } from "../../kit/shadow-guest.js";

/** `shadow` is a guest with paging off. With `backedPages` these are slot 1. Defaults: `ept`, 2048 pages from `SLOT_GFN` on. */
export type LeafGuestInit = Omit<ShadowGuestInit, "wrapCpu" | "arenaBytes" | "hugeLevel" | "slotFlags">;

export const SLOT_GFN = 0x40000 as Gfn;
export const READ = 0;
export const WRITE = PFERR_WRITE_MASK;
export const PRESENT = PFERR_PRESENT_MASK;

/**
 * A guest whose guest-physical addresses are mapped linearly, under the lock validator and the address sanitizer. Pages are numbered
 * from the start of slot 0. With the TDP MMU, which maps them then, no context is set up.
 */
export class LeafGuest extends ShadowGuest {
  private readonly bare: boolean;

  constructor(init: LeafGuestInit = {}) {
    super({
      mode: "ept",
      slotGfn: SLOT_GFN,
      slotPages: 2048,
      arenaBytes: 64 << 20,
      ...init,
      backedPages: init.backedPages ?? 0,
      wrapCpu: (cpu, machine) => (init.bare === true ? cpu : withAddressSanitizer(machine.frames)(cpu)),
    });
    this.bare = init.bare === true;
    this.host.prefetchable = false;
    if (init.backedPages !== undefined) this.setPages(1, 0, init.backedPages, 0);
    // Room for every table of a test: the quota follows the slots, and these are small.
    this.cpu.writeOnce32(this.mmu.nMaxMmuPagesWord, 4096);
    if (init.tdpMmuEnabled !== true) this.load(longMode({ cr0Pg: this.mmu.tdpEnabled }));
  }

  /** Creates or changes a slot of `pages` pages from `gfn` on. */
  setPages(slot: number, gfn: number, pages: number, flags: number): void {
    this.setRegion(slot, gfn, pages, (HOST_BASE + gfn * 4096) as Hva, flags);
  }

  /** Zaps every page, as when the VM goes. */
  zapAll(cpu: Cpu = this.cpu): void {
    this.inSrcu(() => this.arch.flushShadowAll(cpu), cpu);
  }

  gfn(page: number): Gfn {
    return (this.slotGfn + page) as Gfn;
  }

  override range(start: number, end: number, mayBlock = false): KvmGfnRange {
    return { ...super.range(this.gfn(start), this.gfn(end)), mayBlock };
  }

  /** A fault on a page; the error code follows from what the entry holds. */
  touch(page: number, write: boolean, cpu: Cpu = this.cpu): RetPf {
    const present = (this.spte(page) & 0x7n) !== 0n ? PRESENT : 0;
    return this.faultWithCode(page, present | (write ? WRITE : 0), cpu).ret;
  }

  faultWithCode(page: number, code: number, cpu: Cpu = this.cpu): ShadowFaultResult {
    return this.fault((this.slotGfn + page) * 4096, code, this.vcpu, cpu);
  }

  /** Every entry on the path of a page, from the root down. */
  path(page: number): { spte: Spte; level: number; sptep: Address }[] {
    const found: { spte: Spte; level: number; sptep: Address }[] = [];
    const context = this.vcpu.current(this.cpu);
    const iterator = new ShadowWalkIterator(this.mmu, (this.slotGfn + page) * 4096);
    iterator.start(this.cpu, context, context.rootHpa(this.cpu));
    while (iterator.okay()) {
      const spte = this.cpu.readOnce(iterator.sptep) as Spte;
      found.push({ spte, level: iterator.level, sptep: iterator.sptep });
      iterator.next(spte);
    }
    return found;
  }

  /** The lowest entry on the path of a page. */
  entry(page: number): { spte: Spte; level: number; sptep: Address } {
    return this.path(page).at(-1)!;
  }

  spte(page: number): Spte {
    return this.entry(page).spte;
  }

  sptep(page: number, level = 1): Address {
    const entry = this.path(page).find((step) => step.level === level);
    if (entry === undefined) throw new Error(`page ${page} has no entry at level ${level}`);
    return entry.sptep;
  }

  /** Ages pages [start, end) as a notifier does, with the lock that the aging mode asks for. */
  age(start: number, end: number, cpu: Cpu = this.cpu): boolean {
    return this.ageBy(kvmShadowAgeGfn, start, end, cpu);
  }

  testAge(start: number, end: number, cpu: Cpu = this.cpu): boolean {
    return this.ageBy(kvmShadowTestAgeGfn, start, end, cpu);
  }

  /** Opens an invalidation of pages [start, end), unmaps them and flushes if that is due; whether it was. */
  invalidateStart(start: number, end: number, mayBlock = false, cpu: Cpu = this.cpu): boolean {
    const { memslots } = this;
    return this.underWriteLock(() => {
      kvmMmuInvalidateStart(memslots, cpu);
      kvmMmuInvalidateRangeAdd(memslots, cpu, this.gfn(start), this.gfn(end));
      const flush = kvmShadowUnmapGfnRange(this.mmu, cpu, this.range(start, end, mayBlock), false);
      if (flush) cpu.flushRemoteTlbs(this.flushDomain, null);
      return flush;
    }, cpu);
  }

  invalidateEnd(cpu: Cpu = this.cpu): void {
    this.underWriteLock(() => kvmMmuInvalidateEnd(this.memslots, cpu), cpu);
  }

  unmap(start: number, end: number, mayBlock = false, cpu: Cpu = this.cpu): boolean {
    const flush = this.invalidateStart(start, end, mayBlock, cpu);
    this.invalidateEnd(cpu);
    return flush;
  }

  /** Reads the live dirty bit of a page without harvesting. */
  dirtyBit(page: number): boolean {
    const word = offset(slotDirtyBitmap(this.cpu, this.slot), Math.floor(page / 64) * 8);
    return ((this.cpu.readOnce(word) >> BigInt(page % 64)) & 1n) === 1n;
  }

  /** Harvests the dirty log; the pages it names. */
  harvestDirtyLog(cpu: Cpu = this.cpu): number[] {
    const pages: number[] = [];
    for (const [index, word] of kvmGetDirtyLog(this.memslots, cpu, this.arch, 0).entries()) {
      for (let bit = 0; bit < 64; bit++) {
        if (((word >> BigInt(bit)) & 1n) === 1n) pages.push(index * 64 + bit);
      }
    }
    return pages;
  }

  /** Leaves counted per level. */
  leaves(): [number, number, number] {
    return [this.statistic("pages_4k"), this.statistic("pages_2m"), this.statistic("pages_1g")];
  }

  /** Nothing is held any more, and everything that can be checked at rest is as it should be. */
  expectSound(): void {
    if (!this.bare) (this.cpu as LockdepCpu).lockdep.assertNothingHeld();
    expect(checkShadowSpteInvariants(this.mmu, this.cpu)).toEqual([]);
    expect(checkShadowPageInvariants(this.mmu, this.cpu)).toEqual([]);
  }

  private ageBy(operation: typeof kvmShadowAgeGfn, start: number, end: number, cpu: Cpu): boolean {
    const body = (): boolean => operation(this.mmu, cpu, this.range(start, end));
    const locked = this.mmu.options.aging === "mmu-lock-write";
    return locked ? this.underWriteLock(body, cpu) : this.inSrcu(body, cpu);
  }
}
