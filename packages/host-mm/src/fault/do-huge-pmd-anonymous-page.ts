import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { addRss } from "../mm/rss.js";
import { discardNewFolio } from "../page/discard-new-folio.js";
import { HPAGE_PMD_NR, NULL_PAGE, type Page } from "../page/mem-map.js";
import { makeState, PG_HEAD, PG_MAPPED, PG_TAIL } from "../page/page-state.js";
import { makePte, PAGE_DIRTY, PAGE_PSE, PAGE_RW, PTE_NONE } from "../page-table/pte.js";
import { VM_WRITE, type VmaNumber } from "../vma/vma-table.js";

/**
 * `do_huge_pmd_anonymous_page`: first touch of 2 MiB with one leaf. False if the 2 MiB reach beyond the mapping or no block is free: the
 * caller falls back to a 4 KiB page (kernel `VM_FAULT_FALLBACK`). True also if another fault was faster.
 */
export function doHugePmdAnonymousPage(
  mm: MmStruct,
  cpu: Cpu,
  pmd: Address,
  vma: VmaNumber,
  index: number,
): boolean {
  const start = index - (index % HPAGE_PMD_NR);
  if (mm.vmas.start(cpu, vma) > start || mm.vmas.end(cpu, vma) < start + HPAGE_PMD_NR) return false;
  const head = mm.zone.allocBlock(cpu);
  if (head === NULL_PAGE) return false;
  prepCompoundPage(mm, cpu, head, start);
  const vmaWritable = (mm.vmas.flags(cpu, vma) & VM_WRITE) !== 0;
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const isMine = cpu.readOnce(pmd) === PTE_NONE;
  if (isMine) {
    addRss(mm, cpu, HPAGE_PMD_NR);
    mm.folioBatches.addLru(cpu, head, true);
    const bits = vmaWritable ? PAGE_RW | PAGE_DIRTY : 0n;
    // Release, and the loser, as in `doAnonymousPage`.
    cpu.storeRelease(pmd, makePte(mm.memMap.pageToPfn(head), bits | PAGE_PSE));
  }
  cpu.spinUnlock(lock);
  if (!isMine) discardNewFolio(mm, cpu, head, 2);
  return true;
}

/** `prep_compound_page`: head and tails, before anybody can reach them. */
function prepCompoundPage(mm: MmStruct, cpu: Cpu, head: Page, index: number): void {
  const { memMap } = mm;
  mm.contents?.clear(cpu, head, HPAGE_PMD_NR);
  for (let tail = 1; tail < HPAGE_PMD_NR; tail++) {
    cpu.writeOnce(memMap.stateWord((head + tail) as Page), PG_TAIL);
  }
  // Two references: the mapping's and the LRU batch's.
  cpu.writeOnce(memMap.stateWord(head), makeState(PG_HEAD | PG_MAPPED, 2, index));
}
