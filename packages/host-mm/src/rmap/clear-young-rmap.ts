import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { HPAGE_PMD_NR, type Page } from "../page/mem-map.js";
import { PG_HEAD, PG_MAPPED, stateIndex } from "../page/page-state.js";
import { pmdTransHuge, ptePfn, ptePresent } from "../page-table/pte.js";

/** Asks one entry; called with the entry's address and the page number it maps. */
export type ClearYoungNotify = (mm: MmStruct, cpu: Cpu, entry: Address, index: number) => boolean;

/**
 * Walks all mappings of a folio (kernel `rmap_walk` with `page_vma_mapped_walk`) and ages each: a PMD leaf by `agePmd`, PTEs by `agePte`, under the
 * lock of their table. True if any was young. Anonymous folios of one mm have one place, `folio->index`; the walk finds out under the lock
 * whether the folio is still mapped there. Held: a reference.
 */
export function clearYoungRmap(
  mm: MmStruct,
  cpu: Cpu,
  folio: Page,
  agePte: ClearYoungNotify,
  agePmd: ClearYoungNotify,
): boolean {
  const state = mm.memMap.readState(cpu, folio);
  if ((state & PG_MAPPED) === 0n) return false;
  const index = stateIndex(state);
  if ((state & PG_HEAD) === 0n) return agePtes(mm, cpu, folio, index, 1, agePte);
  const pmd = mm.pageTables.pmdOffset(cpu, index);
  if (pmd === NULL_ADDRESS) return false;
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const entry = cpu.readOnce(pmd);
  const isLeaf = pmdTransHuge(entry);
  const young = isLeaf && ptePfn(entry) === mm.memMap.pageToPfn(folio) && agePmd(mm, cpu, pmd, index);
  cpu.spinUnlock(lock);
  // A leaf that is split after this look had its Accessed bit taken; its PTEs carry what came later.
  return isLeaf ? young : agePtes(mm, cpu, folio, index, HPAGE_PMD_NR, agePte);
}

/** Ages those of `count` PTEs from `index`, all in one table, that map the folio's pages. */
function agePtes(
  mm: MmStruct,
  cpu: Cpu,
  folio: Page,
  index: number,
  count: number,
  agePte: ClearYoungNotify,
): boolean {
  const first = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (first === NULL_ADDRESS) return false;
  const pfn = mm.memMap.pageToPfn(folio);
  let young = false;
  for (let page = 0; page < count; page++) {
    const pte = offset(first, page * 8);
    const entry = cpu.readOnce(pte);
    if (!ptePresent(entry) || ptePfn(entry) !== pfn + page) continue;
    if (agePte(mm, cpu, pte, index + page)) young = true;
  }
  mm.pageTables.pteUnmapUnlock(cpu, first);
  return young;
}
