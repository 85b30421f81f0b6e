import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { addRss } from "../mm/rss.js";
import { folioClear, folioTest } from "../page/folio-flags.js";
import { folioPut } from "../page/folio-put.js";
import type { MemMap, Page } from "../page/mem-map.js";
import { ONE_REFERENCE, PG_HEAD, PG_MAPPED, withIndex } from "../page/page-state.js";

/**
 * `folio_add_anon_rmap`: the folio is about to be mapped at `index`; the mapping takes a reference. Held: the folio lock and the PTE lock. A lost
 * exchange means that some other flag or count changed: repeat with the new state.
 */
export function folioAddAnonRmap(memMap: MemMap, cpu: Cpu, folio: Page, index: number): void {
  const word = memMap.stateWord(folio);
  let seen = cpu.readOnce(word);
  for (;;) {
    const mapped = withIndex((seen + ONE_REFERENCE) | PG_MAPPED, index);
    const found = cpu.cmpxchg(word, seen, mapped, "full");
    if (found === seen) return;
    seen = found;
  }
}

/**
 * `folio_remove_rmap_pte` and the reference with it: a PTE that mapped `page` of `folio` is gone. A huge folio is mapped until its last PTE
 * goes; how many there are stands in the second page's next word (kernel: `_nr_pages_mapped`, in the same place), which is
 * free because tails are on no list. Held: the PTE lock.
 */
export function folioRemoveRmapPte(mm: MmStruct, cpu: Cpu, folio: Page): void {
  addRss(mm, cpu, -1);
  if (folioTest(mm.memMap, cpu, folio, PG_HEAD)) {
    const left = readMappedPtes(mm.memMap, cpu, folio) - 1;
    writeMappedPtes(mm.memMap, cpu, folio, left);
    if (left > 0) return;
  }
  folioClear(mm.memMap, cpu, folio, PG_MAPPED);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
}

/** PTEs that map pages of a huge folio; 0 while a PMD leaf maps it. Under the PTE lock. */
export function readMappedPtes(memMap: MemMap, cpu: Cpu, head: Page): number {
  return cpu.readOnce32(memMap.nextWord((head + 1) as Page));
}

export function writeMappedPtes(memMap: MemMap, cpu: Cpu, head: Page, ptes: number): void {
  cpu.writeOnce32(memMap.nextWord((head + 1) as Page), ptes);
}
