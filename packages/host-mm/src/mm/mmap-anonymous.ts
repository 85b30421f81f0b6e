import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { AddressSpaceExhaustedError } from "../errors.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import {
  indexToHva,
  MAPPING_WINDOW_END,
  MAPPING_WINDOW_PAGES,
  MAPPING_WINDOW_START,
} from "../page-table/mapping-window.js";
import { VM_HUGEPAGE, VM_WRITE } from "../vma/vma-table.js";
import { pageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * `mmap(MAP_PRIVATE | MAP_ANONYMOUS, PROT_READ | PROT_WRITE)`: the first gap at a multiple of 2 MiB. Nothing is populated.
 *
 * @throws InvalidMappingRangeError if `bytes` is not a positive multiple of 4096.
 * @throws AddressSpaceExhaustedError or MapCountError.
 */
export function mmapAnonymous(mm: MmStruct, cpu: Cpu, bytes: number, thp: boolean): Hva {
  const { start: first, end: behind } = pageRange(MAPPING_WINDOW_START, bytes);
  const pages = behind - first;
  const wantsHuge = thp && mm.handle.transparentHugePages;
  cpu.writeLock(mm.mmapLock);
  try {
    const start = mm.vmas.findGap(cpu, pages, HPAGE_PMD_NR, MAPPING_WINDOW_PAGES);
    if (start < 0) throw new AddressSpaceExhaustedError(bytes, MAPPING_WINDOW_START, MAPPING_WINDOW_END);
    mm.vmas.insert(cpu, start, start + pages, wantsHuge ? VM_WRITE | VM_HUGEPAGE : VM_WRITE);
    return indexToHva(start) as Hva;
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}
