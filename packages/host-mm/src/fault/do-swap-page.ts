import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { addRss } from "../mm/rss.js";
import { discardNewFolio } from "../page/discard-new-folio.js";
import { folioTest } from "../page/folio-flags.js";
import { folioLock, folioTrylock, folioUnlock } from "../page/folio-lock.js";
import { folioPut } from "../page/folio-put.js";
import { NULL_PAGE, type Page } from "../page/mem-map.js";
import { makeState, PG_LOCKED, PG_SWAPCACHE } from "../page/page-state.js";
import { makePte, PAGE_DIRTY, PAGE_RW, swapSlotOfPte } from "../page-table/pte.js";
import { folioAddAnonRmap } from "../rmap/folio-rmap.js";
import { deleteFromSwapCache, folioSwap, setFolioSwap, swapCacheGetFolio } from "../swap/swap-cache.js";
import { allocFaultPage } from "./alloc-fault-page.js";
import { FaultResult } from "./fault-result.js";
import type { VmFault } from "./handle-mm-fault.js";

/**
 * `do_swap_page`: brings a page back. `entry` is the swap entry that was read without the lock. The page comes from the swap cache if it is
 * still there, else into it from the slot; it keeps the slot, so that reclaim may drop it again without
 * writing while it stays clean. A write, or a device more than half full, gives the slot back.
 */
export function doSwapPage(
  mm: MmStruct,
  cpu: Cpu,
  pte: Address,
  entry: bigint,
  fault: VmFault,
  vmaWritable: boolean,
): FaultResult {
  const slot = swapSlotOfPte(entry);
  let folio = swapCacheGetFolio(mm, cpu, slot);
  if (folio === NULL_PAGE) {
    if (fault.noWait) return FaultResult.retry;
    folio = allocFaultPage(mm, cpu);
    if (folio === NULL_PAGE) return FaultResult.outOfMemory;
    if (!readFromSwap(mm, cpu, folio, slot, fault.index)) return FaultResult.done;
  } else if (!lockFolio(mm, cpu, folio, fault.noWait)) {
    folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
    return FaultResult.retry;
  }
  mapSwappedFolio(mm, cpu, pte, entry, folio, fault, vmaWritable);
  folioUnlock(mm.memMap, cpu, folio);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  return FaultResult.done;
}

function lockFolio(mm: MmStruct, cpu: Cpu, folio: Page, noWait: boolean): boolean {
  if (noWait) return folioTrylock(mm.memMap, cpu, folio);
  folioLock(mm.memMap, cpu, folio);
  return true;
}

/**
 * `swap_cluster_readahead` of one page: puts a new page, locked, into the swap cache and fills it. False if another
 * processor put one there first, or the slot is no longer in use: the new page is freed.
 */
function readFromSwap(mm: MmStruct, cpu: Cpu, page: Page, slot: number, index: number): boolean {
  setFolioSwap(mm, cpu, page, slot);
  // Three references: the caller's, the swap cache's and the LRU batch's. Locked before it can be found.
  cpu.writeOnce(mm.memMap.stateWord(page), makeState(PG_LOCKED | PG_SWAPCACHE, 3, index));
  if (!mm.swap.addToCache(cpu, slot, page)) {
    discardNewFolio(mm, cpu, page, 3);
    return false;
  }
  mm.contents?.readFromSwap(cpu, page, slot);
  mm.folioBatches.addLru(cpu, page, false);
  return true;
}

/** Maps the locked folio if it still is the page of `entry` and the PTE still holds `entry`; else the fault is to be repeated. */
function mapSwappedFolio(
  mm: MmStruct,
  cpu: Cpu,
  pte: Address,
  entry: bigint,
  folio: Page,
  fault: VmFault,
  vmaWritable: boolean,
): void {
  const { memMap } = mm;
  const slot = swapSlotOfPte(entry);
  if (!folioTest(memMap, cpu, folio, PG_SWAPCACHE) || folioSwap(mm, cpu, folio) !== slot) return;
  const lock = mm.pageTables.pteLock(cpu, pte);
  cpu.spinLock(lock);
  const isSame = cpu.readOnce(pte) === entry;
  if (isSame) {
    folioAddAnonRmap(memMap, cpu, folio, fault.index);
    mm.swap.swapFree(cpu, slot);
    addRss(mm, cpu, 1);
    if (fault.write || mm.swap.vmSwapFull(cpu)) deleteFromSwapCache(mm, cpu, folio);
    const bits = (vmaWritable ? PAGE_RW : 0n) | (fault.write ? PAGE_DIRTY : 0n);
    cpu.storeRelease(pte, makePte(memMap.pageToPfn(folio), bits));
  }
  cpu.spinUnlock(lock);
}
