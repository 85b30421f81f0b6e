import { type Address, type Cpu, flushRequestsWord, offset, type TraceEvent } from "@kvm-age/machine";
import {
  kvmGetDirtyLog,
  kvmMmuInvalidateEnd,
  kvmMmuInvalidateRangeAdd,
  kvmMmuInvalidateStart,
  kvmWriteTrackAddGfn,
  mmuFirstShadowRootAlloc,
  slotDirtyBitmap,
} from "@kvm-age/memslot";
import { type Gfn, PFERR_PRESENT_MASK, PFERR_WRITE_MASK, type Spte } from "@kvm-age/spte";
import type { RecordingCpu } from "@kvm-age/test-kit";
import {
  type KvmMmuPage,
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuTestAgeGfn,
  kvmTdpMmuUnmapGfnRange,
  rootOfVcpu,
  TdpIter,
} from "../../src/index.js";
import { type Guest, SLOT_GFN } from "./guest.js";

export const READ = 0;
export const WRITE = PFERR_WRITE_MASK;
export const PRESENT = PFERR_PRESENT_MASK;

export function underReadLock<Result>(guest: Guest, cpu: Cpu, body: () => Result): Result {
  cpu.readLock(guest.mmu.mmuLock);
  const result = body();
  cpu.readUnlock(guest.mmu.mmuLock);
  return result;
}

export function underWriteLock<Result>(guest: Guest, cpu: Cpu, body: () => Result): Result {
  cpu.writeLock(guest.mmu.mmuLock);
  const result = body();
  cpu.writeUnlock(guest.mmu.mmuLock);
  return result;
}

/** Ages pages [start, end) of the slot, with the lock that the guest's aging mode asks for. */
export function age(guest: Guest, start: number, end: number, cpu: Cpu = guest.cpu): boolean {
  const body = (): boolean => kvmTdpMmuAgeGfnRange(guest.mmu, cpu, guest.range(start, end));
  return guest.mmu.options.aging === "mmu-lock-write" ? underWriteLock(guest, cpu, body) : body();
}

export function testAge(guest: Guest, start: number, end: number, cpu: Cpu = guest.cpu): boolean {
  const body = (): boolean => kvmTdpMmuTestAgeGfn(guest.mmu, cpu, guest.range(start, end));
  return guest.mmu.options.aging === "mmu-lock-write" ? underWriteLock(guest, cpu, body) : body();
}

/** Unmaps pages [start, end) of the slot as a notifier does; returns whether a flush was needed. */
export function unmap(
  guest: Guest,
  start: number,
  end: number,
  cpu: Cpu = guest.cpu,
  mayBlock = false,
): boolean {
  return underWriteLock(guest, cpu, () => {
    const range = { ...guest.range(start, end), mayBlock, lockless: false };
    const flush = kvmTdpMmuUnmapGfnRange(guest.mmu, cpu, range, false);
    if (flush) cpu.flushRemoteTlbs(guest.flushDomain, null);
    return flush;
  });
}

/** Opens an invalidation of pages [start, end) of the slot and unmaps them. */
export function invalidateStart(guest: Guest, start: number, end: number): void {
  const { cpu, memslots } = guest;
  underWriteLock(guest, cpu, () => {
    kvmMmuInvalidateStart(memslots, cpu);
    kvmMmuInvalidateRangeAdd(memslots, cpu, (SLOT_GFN + start) as Gfn, (SLOT_GFN + end) as Gfn);
    kvmTdpMmuUnmapGfnRange(guest.mmu, cpu, guest.range(start, end), false);
  });
}

export function invalidateEnd(guest: Guest): void {
  underWriteLock(guest, guest.cpu, () => kvmMmuInvalidateEnd(guest.memslots, guest.cpu));
}

/** Reads the live dirty bit of a page without harvesting. */
export function dirtyBit(guest: Guest, page: number): boolean {
  const word = offset(slotDirtyBitmap(guest.cpu, guest.slot), Math.floor(page / 64) * 8);
  return ((guest.cpu.readOnce(word) >> BigInt(page % 64)) & 1n) === 1n;
}

/** Harvests the dirty log; the pages it names. */
export function harvestDirtyLog(guest: Guest, cpu: Cpu = guest.cpu): number[] {
  const pages: number[] = [];
  for (const [index, word] of kvmGetDirtyLog(guest.memslots, cpu, guest.arch, 0).entries()) {
    for (let bit = 0; bit < 64; bit++) if (((word >> BigInt(bit)) & 1n) === 1n) pages.push(index * 64 + bit);
  }
  return pages;
}

/** Makes a page one that the guest may not write because its writes are tracked. */
export function trackWrites(guest: Guest, page: number): void {
  const { cpu, memslots } = guest;
  mmuFirstShadowRootAlloc(memslots, cpu);
  underWriteLock(guest, cpu, () => kvmWriteTrackAddGfn(memslots, cpu, guest.slot, (SLOT_GFN + page) as Gfn));
}

/** Every entry on the path of a page, from the root down. */
export function path(guest: Guest, page: number): { level: number; spte: Spte; sptep: Address }[] {
  const gfn = (SLOT_GFN + page) as Gfn;
  const found: { level: number; spte: Spte; sptep: Address }[] = [];
  const iter = new TdpIter(guest.format);
  iter.start(guest.cpu, rootOf(guest), 1, gfn);
  for (; iter.valid && iter.gfn <= gfn; iter.next(guest.cpu)) {
    found.push({ level: iter.level, spte: iter.oldSpte, sptep: iter.sptep });
  }
  return found;
}

export function rootOf(guest: Guest): KvmMmuPage {
  return rootOfVcpu(guest.mmu, guest.cpu, guest.vcpu);
}

/** Entry for a page at a level, whatever it holds. */
export function sptepAt(guest: Guest, page: number, level: number): Address {
  const entry = path(guest, page).find((step) => step.level === level);
  if (entry === undefined) throw new Error(`page ${page} has no entry at level ${level}`);
  return entry.sptep;
}

/** Where a 4K entry's table begins. */
export function tableOf(sptep: Address): Address {
  return (sptep - (sptep % 4096)) as Address;
}

/** The 512 values of a table. */
export function entriesOf(guest: Guest, table: Address): bigint[] {
  return Array.from({ length: 512 }, (_, index) => guest.cpu.readOnce(offset(table, index * 8)));
}

/** The changes of entries that were traced, in order. */
export function spteChanges(cpu: RecordingCpu): TraceEvent["fields"][] {
  return cpu.fieldsOf("kvm_tdp_mmu_spte_changed");
}

export function tables(guest: Guest): number {
  return guest.cpu.readOnce32(guest.mmu.pagesWord);
}

export function flushes(guest: Guest): number {
  return guest.cpu.readOnce32(flushRequestsWord(guest.flushDomain));
}

/** Leaves counted per level. */
export function leaves(guest: Guest): [number, number, number] {
  const { pages_4k, pages_2m, pages_1g } = guest.mmu.statistics.read(guest.cpu);
  return [pages_4k, pages_2m, pages_1g];
}
