import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { HPAGE_PMD_NR, type Page } from "../page/mem-map.js";
import {
  frozenState,
  makeState,
  PG_ACTIVE,
  PG_DIRTY,
  PG_HEAD,
  PG_IDLE,
  PG_LOCKED,
  PG_MAPPED,
  PG_REFERENCED,
  PG_YOUNG,
  stateIndex,
  stateReferences,
} from "../page/page-state.js";
import { ptePfn, ptePresent } from "../page-table/pte.js";
import { splitHugePmd } from "./split-huge-pmd.js";

/** Flags that every page of the folio inherits. */
const INHERITED = PG_DIRTY | PG_REFERENCED | PG_ACTIVE | PG_IDLE | PG_YOUNG;

/** References of an isolated, mapped folio that nobody else holds. */
const SPLITTABLE_REFERENCES = 2;

/**
 * `split_folio`: makes 512 folios of a mapped huge one; its pages stay mapped, by PTEs. Pages that no PTE maps any more are freed, the
 * others but the first go to the end of the LRU list. False if somebody else holds a reference, which could not be divided. Held: the folio
 * lock and the reference of the isolation.
 *
 * All under the PTE lock, so no mapping changes. The head's references are frozen first: lockless lookups fail and wait
 * for the lock, or find afterwards that their page is no tail any more.
 */
export function splitFolio(mm: MmStruct, cpu: Cpu, head: Page): boolean {
  const index = stateIndex(mm.memMap.readState(cpu, head));
  splitHugePmd(mm, cpu, index);
  const firstPte = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (firstPte === NULL_ADDRESS) return false;
  const frozen = freezeHead(mm, cpu, head);
  if (frozen !== null) {
    splitTails(mm, cpu, head, frozen, firstPte);
    const isMapped = mapsPage(mm, cpu, firstPte, head);
    const flags = (frozen & INHERITED) | PG_LOCKED | (isMapped ? PG_MAPPED : 0n);
    // Release: whoever gets a reference to the head again sees the tails as they are now.
    cpu.storeRelease(mm.memMap.stateWord(head), makeState(flags, isMapped ? 2 : 1, index));
  }
  mm.pageTables.pteUnmapUnlock(cpu, firstPte);
  return frozen !== null;
}

/** `folio_ref_freeze`: the frozen state, or null if the folio is not mapped or somebody else holds a reference. */
function freezeHead(mm: MmStruct, cpu: Cpu, head: Page): bigint | null {
  const word = mm.memMap.stateWord(head);
  let seen = cpu.readOnce(word);
  while (
    (seen & (PG_HEAD | PG_MAPPED)) === (PG_HEAD | PG_MAPPED) &&
    stateReferences(seen) === SPLITTABLE_REFERENCES
  ) {
    const found = cpu.cmpxchg(word, seen, frozenState(seen), "full");
    if (found === seen) return frozenState(seen);
    seen = found;
  }
  return null;
}

/** `__split_folio_to_order`: the tails become folios, on the LRU list or free. Last to first, so that reclaim meets them in order. */
function splitTails(mm: MmStruct, cpu: Cpu, head: Page, frozen: bigint, firstPte: Address): void {
  const { memMap, lruvec } = mm;
  const index = stateIndex(frozen);
  const unmapped: Page[] = [];
  lruvec.lockLru(cpu);
  for (let tail = HPAGE_PMD_NR - 1; tail > 0; tail--) {
    const page = (head + tail) as Page;
    if (!mapsPage(mm, cpu, offset(firstPte, tail * 8), page)) {
      unmapped.push(page);
      continue;
    }
    const state = makeState((frozen & INHERITED) | PG_MAPPED, 1, index + tail);
    cpu.writeOnce(memMap.stateWord(page), state);
    lruvec.addFolioTail(cpu, page);
  }
  lruvec.unlockLru(cpu);
  for (const page of unmapped) mm.zone.freePage(cpu, page);
}

/** Whether the PTE maps `page`. */
function mapsPage(mm: MmStruct, cpu: Cpu, pte: Address, page: Page): boolean {
  const entry = cpu.readOnce(pte);
  return ptePresent(entry) && ptePfn(entry) === mm.memMap.pageToPfn(page);
}
