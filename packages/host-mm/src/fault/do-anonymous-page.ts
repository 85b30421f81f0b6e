import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { addRss } from "../mm/rss.js";
import { discardNewFolio } from "../page/discard-new-folio.js";
import { NULL_PAGE } from "../page/mem-map.js";
import { makeState, PG_MAPPED } from "../page/page-state.js";
import { makePte, PAGE_DIRTY, PAGE_RW, PTE_NONE } from "../page-table/pte.js";
import { allocFaultPage } from "./alloc-fault-page.js";
import { FaultResult } from "./fault-result.js";

/**
 * `do_anonymous_page`: first touch of a 4 KiB page. Reads get a page of their own too: the shared zero page of the kernel's read
 * faults is not modelled. The new PTE is accessed, and in a writable mapping writable and dirty, as the kernel makes it.
 *
 * The page is made before the lock is taken. Of two first touches at once, the second finds the PTE taken and frees its
 * page.
 */
export function doAnonymousPage(
  mm: MmStruct,
  cpu: Cpu,
  pte: Address,
  index: number,
  vmaWritable: boolean,
): FaultResult {
  const page = allocFaultPage(mm, cpu);
  if (page === NULL_PAGE) return FaultResult.outOfMemory;
  // Two references: the mapping's and the LRU batch's.
  cpu.writeOnce(mm.memMap.stateWord(page), makeState(PG_MAPPED, 2, index));
  const lock = mm.pageTables.pteLock(cpu, pte);
  cpu.spinLock(lock);
  const isMine = cpu.readOnce(pte) === PTE_NONE;
  if (isMine) {
    addRss(mm, cpu, 1);
    mm.folioBatches.addLru(cpu, page, false);
    const bits = vmaWritable ? PAGE_RW | PAGE_DIRTY : 0n;
    // Release: a lockless lookup that finds the PTE finds the page's references.
    cpu.storeRelease(pte, makePte(mm.memMap.pageToPfn(page), bits));
  }
  cpu.spinUnlock(lock);
  if (!isMine) discardNewFolio(mm, cpu, page, 2);
  return FaultResult.done;
}
