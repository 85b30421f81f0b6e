import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { FaultResult } from "../fault/fault-result.js";
import { handleMmFault, type VmFault } from "../fault/handle-mm-fault.js";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioMarkAccessed } from "../page/folio-mark-accessed.js";
import { folioMarkDirty } from "../page/folio-mark-dirty.js";
import { folioGet, pageFolio } from "../page/folio-reference.js";
import { HPAGE_PMD_NR, NULL_PAGE, type Page } from "../page/mem-map.js";
import {
  PAGE_DIRTY,
  PAGE_PRESENT,
  PAGE_RW,
  PTE_NONE,
  pmdTransHuge,
  ptePfn,
  ptePresent,
  pteSpecial,
} from "../page-table/pte.js";

/** How a blocking lookup ended; the page is `NULL_PAGE` unless `result` is done. */
export interface UserPage {
  readonly page: Page;
  readonly result: FaultResult;
}

/**
 * `get_user_pages_unlocked` of one page: faults it in under the mmap lock, takes a reference and marks it accessed, and for a write dirty. Loops
 * because a page that was just faulted in may be gone again. A mapping without page records ends as a
 * segmentation fault (kernel `check_vma_flags`).
 */
export function getUserPage(mm: MmStruct, cpu: Cpu, fault: VmFault): UserPage {
  cpu.readLock(mm.mmapLock);
  try {
    for (;;) {
      const page = followPage(mm, cpu, fault);
      if (page === null) return { page: NULL_PAGE, result: FaultResult.segmentationFault };
      if (page !== NULL_PAGE) return { page, result: FaultResult.done };
      const result = handleMmFault(mm, cpu, fault);
      if (result !== FaultResult.done) return { page: NULL_PAGE, result };
    }
  } finally {
    cpu.readUnlock(mm.mmapLock);
  }
}

/** `follow_page_mask`: the page at `index` with a reference if it is mapped as the fault wants, else `NULL_PAGE`; null if the mapping has no page records. */
function followPage(mm: MmStruct, cpu: Cpu, fault: VmFault): Page | null {
  const { pageTables } = mm;
  const pmd = pageTables.pmdOffset(cpu, fault.index);
  const pmdEntry = pmd === NULL_ADDRESS ? PTE_NONE : cpu.readOnce(pmd);
  if (pmdEntry === PTE_NONE) return NULL_PAGE;
  if (pmdTransHuge(pmdEntry)) return followPmd(mm, cpu, pmd, fault);
  // A look without the lock: the mmap lock keeps the table, and special entries; what is not present leads to a fault either way.
  const look = cpu.readOnce(pageTables.pteOffset(pmdEntry, fault.index));
  if (!ptePresent(look)) return NULL_PAGE;
  if (pteSpecial(look)) return null;
  const pte = pageTables.pteOffsetMapLock(cpu, fault.index);
  if (pte === NULL_ADDRESS) return NULL_PAGE;
  const page = takeEntry(mm, cpu, cpu.readOnce(pte), 0, fault.write);
  pageTables.pteUnmapUnlock(cpu, pte);
  return page;
}

function followPmd(mm: MmStruct, cpu: Cpu, pmd: Address, fault: VmFault): Page {
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const entry = cpu.readOnce(pmd);
  const page = pmdTransHuge(entry)
    ? takeEntry(mm, cpu, entry, fault.index % HPAGE_PMD_NR, fault.write)
    : NULL_PAGE;
  cpu.spinUnlock(lock);
  return page;
}

/** Takes the page `offsetInLeaf` pages into the leaf `entry`, under the lock of its table. */
function takeEntry(mm: MmStruct, cpu: Cpu, entry: bigint, offsetInLeaf: number, write: boolean): Page {
  const wanted = write ? PAGE_PRESENT | PAGE_RW : PAGE_PRESENT;
  if ((entry & wanted) !== wanted) return NULL_PAGE;
  const page = mm.memMap.pfnToPage(ptePfn(entry) + offsetInLeaf);
  const folio = pageFolio(mm.memMap, cpu, page);
  folioGet(mm.memMap, cpu, folio);
  if (write && (entry & PAGE_DIRTY) === 0n) folioMarkDirty(mm, cpu, folio);
  folioMarkAccessed(mm, cpu, folio);
  return page;
}
