import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { MmuNotifierEvent, type MmuNotifierRange } from "../notifier/mmu-notifier-range.js";
import { folioSet } from "../page/folio-flags.js";
import type { Page } from "../page/mem-map.js";
import { PG_DIRTY, stateIndex } from "../page/page-state.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { PAGE_SIZE } from "../page-table/page-size.js";
import { PAGE_DIRTY, PTE_NONE, ptePfn, ptePresent, swapPte } from "../page-table/pte.js";
import { folioRemoveRmapPte } from "../rmap/folio-rmap.js";
import { folioSwap } from "../swap/swap-cache.js";

/**
 * `try_to_unmap` of a 4 KiB folio in the swap cache: replaces its PTE by the swap entry, inside an invalidation bracket. Whoever unmapped it
 * meanwhile did the same work. Held: the folio lock and a reference.
 */
export function tryToUnmap(mm: MmStruct, cpu: Cpu, folio: Page): void {
  const index = stateIndex(mm.memMap.readState(cpu, folio));
  const start = indexToHva(index);
  const range: MmuNotifierRange = {
    start,
    end: start + PAGE_SIZE,
    blockable: true,
    event: MmuNotifierEvent.CLEAR,
  };
  mm.notifiers.invalidateRangeStart(cpu, range);
  const pte = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (pte !== NULL_ADDRESS) {
    const entry = cpu.readOnce(pte);
    if (ptePresent(entry) && ptePfn(entry) === mm.memMap.pageToPfn(folio)) replacePte(mm, cpu, folio, pte);
    mm.pageTables.pteUnmapUnlock(cpu, pte);
  }
  mm.notifiers.invalidateRangeEnd(cpu, range);
}

/**
 * The PTE is cleared by an exchange, so that a Dirty bit set by a walker up to this moment is seen; from then on a walker faults
 * and waits for the lock, or finds the swap entry. The slot counts the entry before it appears.
 */
function replacePte(mm: MmStruct, cpu: Cpu, folio: Page, pte: Address): void {
  const entry = cpu.xchg(pte, PTE_NONE, "full");
  if ((entry & PAGE_DIRTY) !== 0n) folioSet(mm.memMap, cpu, folio, PG_DIRTY);
  const slot = folioSwap(mm, cpu, folio);
  mm.swap.swapDuplicate(cpu, slot);
  cpu.writeOnce(pte, swapPte(slot));
  folioRemoveRmapPte(mm, cpu, folio);
}
