import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioPut } from "../page/folio-put.js";
import { folioTryGet, pageFolio } from "../page/folio-reference.js";
import { HPAGE_PMD_NR, NULL_PAGE, type Page } from "../page/mem-map.js";
import { PAGE_PRESENT, PAGE_RW, PTE_NONE, pmdTransHuge, ptePfn, pteSpecial } from "../page-table/pte.js";

const PRESENT_WRITABLE = PAGE_PRESENT | PAGE_RW;

/**
 * `get_user_page_fast_only` for a write: the page at `index` with a reference if its mapping is present and writable, else `NULL_PAGE`. No locks, no
 * fault. `NULL_PAGE`
 * also where there is no page record to refer to.
 *
 * The read section keeps tables from being reused (the kernel keeps interrupts off). The mapping may change between the look and the
 * reference, so it is read again afterwards; from then on the reference keeps the page, whatever happens to the mapping.
 */
export function getUserPageFast(mm: MmStruct, cpu: Cpu, index: number): Page {
  cpu.rcuReadLock();
  const page = lookUp(mm, cpu, index);
  cpu.rcuReadUnlock();
  return page;
}

function lookUp(mm: MmStruct, cpu: Cpu, index: number): Page {
  const pmd = mm.pageTables.pmdOffset(cpu, index);
  if (pmd === NULL_ADDRESS) return NULL_PAGE;
  const pmdEntry = cpu.readOnce(pmd);
  if (pmdEntry === PTE_NONE) return NULL_PAGE;
  const isLeaf = pmdTransHuge(pmdEntry);
  const word = isLeaf ? pmd : mm.pageTables.pteOffset(pmdEntry, index);
  const entry = isLeaf ? pmdEntry : cpu.readOnce(word);
  if ((entry & PRESENT_WRITABLE) !== PRESENT_WRITABLE) return NULL_PAGE;
  if (pteSpecial(entry)) return NULL_PAGE;
  const page = mm.memMap.pfnToPage(ptePfn(entry) + (isLeaf ? index % HPAGE_PMD_NR : 0));
  const folio = pageFolio(mm.memMap, cpu, page);
  if (!folioTryGet(mm.memMap, cpu, folio)) return NULL_PAGE;
  const isSame =
    cpu.readOnce(word) === entry &&
    (isLeaf || cpu.readOnce(pmd) === pmdEntry) &&
    pageFolio(mm.memMap, cpu, page) === folio;
  if (isSame) return page;
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  return NULL_PAGE;
}
