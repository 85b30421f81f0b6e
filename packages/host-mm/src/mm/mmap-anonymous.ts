import type { Cpu } from "@kvm-age/machine";
import type { Hva } from "@kvm-age/memslot";
import { indexToHva } from "../page-table/mapping-window.js";
import { VM_HUGEPAGE, VM_WRITE } from "../vma/vma-table.js";
import { getUnmappedArea } from "./get-unmapped-area.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * `mmap(MAP_PRIVATE | MAP_ANONYMOUS, PROT_READ | PROT_WRITE)`: the first gap at a multiple of 2 MiB. Nothing is populated.
 *
 * @throws InvalidMappingRangeError if `bytes` is not a positive multiple of 4096.
 * @throws AddressSpaceExhaustedError or MapCountError.
 */
export function mmapAnonymous(mm: MmStruct, cpu: Cpu, bytes: number, thp: boolean): Hva {
  const wantsHuge = thp && mm.handle.transparentHugePages;
  cpu.writeLock(mm.mmapLock);
  try {
    const { start, end } = getUnmappedArea(mm, cpu, bytes);
    mm.vmas.insert(cpu, start, end, wantsHuge ? VM_WRITE | VM_HUGEPAGE : VM_WRITE);
    return indexToHva(start) as Hva;
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}
