import type { Cpu } from "@kvm-age/machine";
import { MmuNotifierEvent, type MmuNotifierRange } from "../notifier/mmu-notifier-range.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { freePageTables } from "./free-page-tables.js";
import { checkMapped, type PageRange, pageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";
import { zapPageRange } from "./zap-page-range.js";

/**
 * `munmap`: removes all mappings in the range, with one bracket around the whole of it. Parts that are not mapped are no error. The mmap lock is
 * held for write to the end; the kernel downgrades it for the zap.
 *
 * @throws InvalidMappingRangeError, MapCountError.
 */
export function munmap(mm: MmStruct, cpu: Cpu, hva: number, bytes: number): void {
  const range = pageRange(hva, bytes);
  cpu.writeLock(mm.mmapLock);
  try {
    removeVmas(mm, cpu, range);
    const bracket = bracketOf(range, MmuNotifierEvent.UNMAP);
    mm.notifiers.invalidateRangeStart(cpu, bracket);
    zapPageRange(mm, cpu, range.start, range.end);
    freePageTables(mm, cpu, range.start, range.end);
    mm.notifiers.invalidateRangeEnd(cpu, bracket);
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}

/**
 * `madvise(MADV_DONTNEED)`: drops the pages of the range; the mapping stays, and its next touch finds zeros.
 *
 * @throws InvalidMappingRangeError.
 * @throws UnmappedRangeError if mappings do not cover the range.
 */
export function madviseDontneed(mm: MmStruct, cpu: Cpu, hva: number, bytes: number): void {
  const range = pageRange(hva, bytes);
  cpu.readLock(mm.mmapLock);
  try {
    checkMapped(mm, cpu, range);
    const bracket = bracketOf(range, MmuNotifierEvent.CLEAR);
    mm.notifiers.invalidateRangeStart(cpu, bracket);
    zapPageRange(mm, cpu, range.start, range.end);
    mm.notifiers.invalidateRangeEnd(cpu, bracket);
  } finally {
    cpu.readUnlock(mm.mmapLock);
  }
}

function bracketOf(range: PageRange, event: MmuNotifierEvent): MmuNotifierRange {
  return { start: indexToHva(range.start), end: indexToHva(range.end), blockable: true, event };
}

function removeVmas(mm: MmStruct, cpu: Cpu, range: PageRange): void {
  mm.vmas.splitAt(cpu, range.start);
  mm.vmas.splitAt(cpu, range.end);
  const vma = mm.vmas.findVma(cpu, range.start);
  while (vma < mm.vmas.count(cpu) && mm.vmas.start(cpu, vma) < range.end) mm.vmas.remove(cpu, vma);
}
