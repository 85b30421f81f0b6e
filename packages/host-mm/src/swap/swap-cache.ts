import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear, folioSet, folioTest } from "../page/folio-flags.js";
import { folioTrylock, folioUnlock } from "../page/folio-lock.js";
import { folioPut } from "../page/folio-put.js";
import { folioGet, folioTryGet } from "../page/folio-reference.js";
import { NULL_PAGE, type Page } from "../page/mem-map.js";
import { PG_DIRTY, PG_MAPPED, PG_SWAPCACHE } from "../page/page-state.js";
import { NULL_SLOT } from "./swap-device.js";

/** u32: the swap slot of a page in the swap cache (kernel `folio->swap`). Changes under the folio lock. */
function folioSwapWord(mm: MmStruct, folio: Page): Address {
  return offset(mm.handle.folioSwap, folio * 4);
}

/** The swap slot of a folio in the swap cache; the caller holds the folio lock. */
export function folioSwap(mm: MmStruct, cpu: Cpu, folio: Page): number {
  return cpu.readOnce32(folioSwapWord(mm, folio));
}

export function setFolioSwap(mm: MmStruct, cpu: Cpu, folio: Page, slot: number): void {
  cpu.writeOnce32(folioSwapWord(mm, folio), slot);
}

/**
 * `add_to_swap`: gives a folio a slot, which makes it dirty: the slot has no copy yet. False if the device is full. Held: the folio
 * lock; the swap cache takes a reference.
 */
export function addToSwap(mm: MmStruct, cpu: Cpu, folio: Page): boolean {
  // The slot's word names the folio before the flag says so: whoever finds it there waits for the folio lock.
  folioGet(mm.memMap, cpu, folio);
  const slot = mm.swap.allocSlot(cpu, folio);
  if (slot === NULL_SLOT) {
    folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
    return false;
  }
  setFolioSwap(mm, cpu, folio, slot);
  folioSet(mm.memMap, cpu, folio, PG_SWAPCACHE | PG_DIRTY);
  return true;
}

/**
 * `delete_from_swap_cache`: the folio gives up its slot and is its only copy from now on, so it becomes dirty. Held: the folio lock and
 * a reference besides the swap cache's, which is dropped.
 */
export function deleteFromSwapCache(mm: MmStruct, cpu: Cpu, folio: Page): void {
  const { memMap } = mm;
  folioSet(memMap, cpu, folio, PG_DIRTY);
  folioClear(memMap, cpu, folio, PG_SWAPCACHE);
  mm.swap.removeFromCache(cpu, folioSwap(mm, cpu, folio));
  folioPut(memMap, mm.lruvec, mm.zone, cpu, folio);
}

/**
 * `swap_cache_get_folio`: the cached page of a slot with a reference, or `NULL_PAGE`. The page may leave the cache between the look and the
 * reference; the second look finds out, and the reference is dropped again. A frozen page is about to leave the cache: wait for that.
 */
export function swapCacheGetFolio(mm: MmStruct, cpu: Cpu, slot: number): Page {
  for (;;) {
    const folio = mm.swap.cachedPage(cpu, slot);
    if (folio === NULL_PAGE) return NULL_PAGE;
    if (!folioTryGet(mm.memMap, cpu, folio)) {
      cpu.relax(mm.swap.slotWord(slot));
      continue;
    }
    if (mm.swap.cachedPage(cpu, slot) === folio) return folio;
    folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  }
}

/**
 * `free_swap_cache`: an unmapped folio in the swap cache gives up a slot that no PTE holds. Held: a reference. If the folio is locked,
 * reclaim has it and sees to the slot.
 */
export function freeSwapCache(mm: MmStruct, cpu: Cpu, folio: Page): void {
  const { memMap } = mm;
  if (!folioTest(memMap, cpu, folio, PG_SWAPCACHE) || folioTest(memMap, cpu, folio, PG_MAPPED)) return;
  if (!folioTrylock(memMap, cpu, folio)) return;
  const isUnused =
    folioTest(memMap, cpu, folio, PG_SWAPCACHE) && !mm.swap.isMapped(cpu, folioSwap(mm, cpu, folio));
  if (isUnused) deleteFromSwapCache(mm, cpu, folio);
  folioUnlock(memMap, cpu, folio);
}

/** `free_swap_and_cache`: a swap entry leaves the page table; the slot goes with it if nobody else holds it. */
export function freeSwapAndCache(mm: MmStruct, cpu: Cpu, slot: number): void {
  // The reference is taken first: afterwards the slot may be free and in other hands.
  const folio = swapCacheGetFolio(mm, cpu, slot);
  mm.swap.swapFree(cpu, slot);
  if (folio === NULL_PAGE) return;
  freeSwapCache(mm, cpu, folio);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
}
