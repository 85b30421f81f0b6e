import { type Cpu, FRAME_BYTES } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { indexToHva } from "../page-table/mapping-window.js";
import { makePte, PAGE_RW, PAGE_SPECIAL, PTE_NONE } from "../page-table/pte.js";
import { VM_PFNMAP, VM_WRITE } from "../vma/vma-table.js";
import { getUnmappedArea } from "./get-unmapped-area.js";
import type { PageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";
import { unmapRegion } from "./unmap-region.js";

/**
 * `mmap(MAP_SHARED)` of a driver that calls `remap_pfn_range`: memory with bytes, arena frames of zeros, at the first gap at a multiple of 2 MiB.
 * All of it is populated. A failure leaves nothing behind but page tables above the lowest level.
 *
 * @throws InvalidMappingRangeError if `bytes` is not a positive multiple of 4096.
 * @throws AddressSpaceExhaustedError or MapCountError.
 * @throws OutOfMemoryError if the arena has no frames for the memory, its tables and records.
 */
export function mmapBacked(mm: MmStruct, cpu: Cpu, bytes: number, writable: boolean): Hva {
  cpu.writeLock(mm.mmapLock);
  try {
    const range = getUnmappedArea(mm, cpu, bytes);
    mm.vmas.insert(cpu, range.start, range.end, writable ? VM_PFNMAP | VM_WRITE : VM_PFNMAP);
    try {
      remapPfnRange(mm, cpu, range, writable);
    } catch (error) {
      // With a bracket, as for any unmap: KVM may have a memory slot there and have mapped what was populated so far.
      mm.vmas.remove(cpu, mm.vmas.vmaLookup(cpu, range.start));
      unmapRegion(mm, cpu, range);
      throw error;
    }
    return indexToHva(range.start) as Hva;
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}

/**
 * `remap_pfn_range`, page by page because the frames are not contiguous. The entries are special, young and clean: on x86 the kernel makes
 * them from `vm_page_prot`, and every user protection there has Accessed set. They belong to no folio and count in no
 * counter of the mm.
 */
function remapPfnRange(mm: MmStruct, cpu: Cpu, range: PageRange, writable: boolean): void {
  const bits = writable ? PAGE_SPECIAL | PAGE_RW : PAGE_SPECIAL;
  for (let index = range.start; index < range.end; index++) {
    const pmd = mm.pageTables.pmdAlloc(cpu, index);
    if (cpu.readOnce(pmd) === PTE_NONE) mm.pageTables.pteAlloc(cpu, pmd);
    const frame = mm.frameRecords.allocate(cpu);
    const pte = mm.pageTables.pteOffsetMapLock(cpu, index);
    // Release: a lockless walker that sees the entry sees the frame's zeros.
    cpu.storeRelease(pte, makePte(frame / FRAME_BYTES, bits));
    mm.pageTables.pteUnmapUnlock(cpu, pte);
  }
}
