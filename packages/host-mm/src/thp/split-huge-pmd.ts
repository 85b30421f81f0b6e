import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { MmuNotifierEvent, type MmuNotifierRange } from "../notifier/mmu-notifier-range.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { PMD_SIZE } from "../page-table/page-size.js";
import {
  makePte,
  makeTableEntry,
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_RW,
  pmdTransHuge,
  ptePfn,
} from "../page-table/pte.js";
import { writeMappedPtes } from "../rmap/folio-rmap.js";

/**
 * `split_huge_pmd`: replaces a 2 MiB leaf by a table of 512 PTEs for the same pages, inside an invalidation bracket; the folio stays one. False
 * if there is no leaf at `index`. The table is allocated first (the kernel keeps one in store from the fault on).
 *
 * @throws OutOfMemoryError if the arena has no frame for the table.
 */
export function splitHugePmd(mm: MmStruct, cpu: Cpu, index: number): boolean {
  const first = index - (index % HPAGE_PMD_NR);
  const pmd = mm.pageTables.pmdOffset(cpu, first);
  if (pmd === NULL_ADDRESS || !pmdTransHuge(cpu.readOnce(pmd))) return false;
  const start = indexToHva(first);
  const range: MmuNotifierRange = {
    start,
    end: start + PMD_SIZE,
    blockable: true,
    event: MmuNotifierEvent.CLEAR,
  };
  const table = mm.pageTables.allocTable(cpu);
  mm.notifiers.invalidateRangeStart(cpu, range);
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const isMine = replaceLeaf(mm, cpu, pmd, table);
  cpu.spinUnlock(lock);
  mm.notifiers.invalidateRangeEnd(cpu, range);
  if (!isMine) mm.pageTables.freeTable(cpu, table);
  return isMine;
}

/**
 * Fills the table and exchanges it for the leaf in one step, so that nobody finds the 2 MiB unmapped in between. A lost exchange means
 * that a walker set Accessed or Dirty in the leaf: fill again with the new bits. Full: who sees the table sees its PTEs.
 */
function replaceLeaf(mm: MmStruct, cpu: Cpu, pmd: Address, table: Address): boolean {
  let leaf = cpu.readOnce(pmd);
  while (pmdTransHuge(leaf)) {
    const pfn = ptePfn(leaf);
    const notAccessed = (leaf & PAGE_ACCESSED) === 0n ? PAGE_ACCESSED : 0n;
    for (let page = 0; page < HPAGE_PMD_NR; page++) {
      const pte = makePte(pfn + page, leaf & (PAGE_RW | PAGE_DIRTY)) & ~notAccessed;
      cpu.writeOnce(offset(table, page * 8), pte);
    }
    writeMappedPtes(mm.memMap, cpu, mm.memMap.pfnToPage(pfn), HPAGE_PMD_NR);
    const found = cpu.cmpxchg(pmd, leaf, makeTableEntry(table), "full");
    if (found === leaf) return true;
    leaf = found;
  }
  return false;
}
