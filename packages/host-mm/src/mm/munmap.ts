import type { Cpu } from "@kvm-age/machine";
import { PfnMappingError } from "../errors.js";
import { MmuNotifierEvent } from "../notifier/mmu-notifier-range.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { VM_PFNMAP } from "../vma/vma-table.js";
import { checkMapped, type PageRange, pageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";
import { MmuGather } from "./mmu-gather.js";
import { bracketOf, unmapRegion } from "./unmap-region.js";
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
    unmapRegion(mm, cpu, range);
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}

/**
 * `madvise(MADV_DONTNEED)`: drops the pages of the range; the mapping stays, and its next touch finds zeros.
 *
 * @throws InvalidMappingRangeError.
 * @throws UnmappedRangeError if mappings do not cover the range.
 * @throws PfnMappingError if backed memory is in the range, whose frames nothing would bring back. Then nothing is dropped; the kernel stops
 *   at that mapping.
 */
export function madviseDontneed(mm: MmStruct, cpu: Cpu, hva: number, bytes: number): void {
  const range = pageRange(hva, bytes);
  cpu.readLock(mm.mmapLock);
  try {
    checkMapped(mm, cpu, range);
    checkDroppable(mm, cpu, range);
    const gather = new MmuGather(mm.frameRecords);
    const bracket = bracketOf(range, MmuNotifierEvent.CLEAR);
    mm.notifiers.invalidateRangeStart(cpu, bracket);
    zapPageRange(mm, cpu, range.start, range.end, gather);
    mm.notifiers.invalidateRangeEnd(cpu, bracket);
    gather.finish(cpu);
  } finally {
    cpu.readUnlock(mm.mmapLock);
  }
}

/** `madvise_dontneed_free_valid_vma`, for every VMA of the range. */
function checkDroppable({ vmas }: MmStruct, cpu: Cpu, range: PageRange): void {
  let vma = vmas.findVma(cpu, range.start);
  for (; vma < vmas.count(cpu) && vmas.start(cpu, vma) < range.end; vma++) {
    if ((vmas.flags(cpu, vma) & VM_PFNMAP) === 0) continue;
    throw new PfnMappingError(indexToHva(vmas.start(cpu, vma)), indexToHva(vmas.end(cpu, vma)));
  }
}

function removeVmas(mm: MmStruct, cpu: Cpu, range: PageRange): void {
  mm.vmas.splitAt(cpu, range.start);
  mm.vmas.splitAt(cpu, range.end);
  const vma = mm.vmas.findVma(cpu, range.start);
  while (vma < mm.vmas.count(cpu) && mm.vmas.start(cpu, vma) < range.end) mm.vmas.remove(cpu, vma);
}
