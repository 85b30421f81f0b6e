import { type Address, type Cpu, FRAME_BYTES, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { folioClear } from "../page/folio-flags.js";
import { folioPut } from "../page/folio-put.js";
import { folioGet, pageFolio } from "../page/folio-reference.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import { PG_MAPPED } from "../page/page-state.js";
import { PTE_NONE, pmdTransHuge, ptePfn, ptePresent, pteSpecial, swapSlotOfPte } from "../page-table/pte.js";
import { folioRemoveRmapPte } from "../rmap/folio-rmap.js";
import { freeSwapAndCache, freeSwapCache } from "../swap/swap-cache.js";
import { splitHugePmd } from "../thp/split-huge-pmd.js";
import type { MmStruct } from "./mm-struct.js";
import type { MmuGather } from "./mmu-gather.js";
import { addRss } from "./rss.js";

/**
 * `unmap_page_range`: clears every entry of the pages [start, end) and lets go of what it held; frames of backed memory go to `gather`. A
 * huge leaf that reaches beyond the range is split. Held: the mmap lock, and an invalidation bracket around the range is open.
 */
export function zapPageRange(mm: MmStruct, cpu: Cpu, start: number, end: number, gather: MmuGather): void {
  let index = start;
  while (index < end) {
    const next = Math.min(end, index - (index % HPAGE_PMD_NR) + HPAGE_PMD_NR);
    const pmd = mm.pageTables.pmdOffset(cpu, index);
    if (pmd === NULL_ADDRESS) {
      index = next;
      continue;
    }
    const isLeaf = pmdTransHuge(cpu.readOnce(pmd));
    if (!isLeaf) {
      zapPteRange(mm, cpu, index, next, gather);
    } else if (next - index < HPAGE_PMD_NR) {
      splitHugePmd(mm, cpu, index);
      continue;
    } else if (!zapHugePmd(mm, cpu, pmd)) {
      // Reclaim split the leaf between the look and the lock.
      continue;
    }
    index = next;
  }
}

/** `zap_huge_pmd`: false if the entry is no leaf any more. */
function zapHugePmd(mm: MmStruct, cpu: Cpu, pmd: Address): boolean {
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const isLeaf = pmdTransHuge(cpu.readOnce(pmd));
  // An exchange, as in the PTE case: a walker that comes later faults.
  const entry = isLeaf ? cpu.xchg(pmd, PTE_NONE, "full") : PTE_NONE;
  cpu.spinUnlock(lock);
  if (!isLeaf) return false;
  const folio = mm.memMap.pfnToPage(ptePfn(entry));
  addRss(mm, cpu, -HPAGE_PMD_NR);
  folioClear(mm.memMap, cpu, folio, PG_MAPPED);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  return true;
}

/** `zap_pte_range`, within one table. */
function zapPteRange(mm: MmStruct, cpu: Cpu, index: number, end: number, gather: MmuGather): void {
  const first = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (first === NULL_ADDRESS) return;
  for (let page = 0; page < end - index; page++) {
    const pte = offset(first, page * 8);
    if (cpu.readOnce(pte) === PTE_NONE) continue;
    const entry = cpu.xchg(pte, PTE_NONE, "full");
    if (pteSpecial(entry)) gather.remove((ptePfn(entry) * FRAME_BYTES) as Address);
    else if (ptePresent(entry)) zapPresentPte(mm, cpu, entry);
    else freeSwapAndCache(mm, cpu, swapSlotOfPte(entry));
  }
  mm.pageTables.pteUnmapUnlock(cpu, first);
}

/** Lets go of the page of a cleared PTE. A copy in swap is of no use without it, so the slot goes too. */
function zapPresentPte(mm: MmStruct, cpu: Cpu, entry: bigint): void {
  const { memMap } = mm;
  const folio = pageFolio(memMap, cpu, memMap.pfnToPage(ptePfn(entry)));
  // Keeps the folio while its slot is looked at.
  folioGet(memMap, cpu, folio);
  folioRemoveRmapPte(mm, cpu, folio);
  freeSwapCache(mm, cpu, folio);
  folioPut(memMap, mm.lruvec, mm.zone, cpu, folio);
}
