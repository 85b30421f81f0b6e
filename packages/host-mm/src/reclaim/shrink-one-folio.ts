import type { Cpu } from "@kvm-age/machine";
import type { Pfn } from "@kvm-age/spte";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioSet, folioTest } from "../page/folio-flags.js";
import { folioTrylock, folioUnlock } from "../page/folio-lock.js";
import { folioPut, freeFolio } from "../page/folio-put.js";
import { INACTIVE_LIST, NULL_PAGE, type Page } from "../page/mem-map.js";
import {
  frozenState,
  PG_ACTIVE,
  PG_DIRTY,
  PG_HEAD,
  PG_IDLE,
  PG_MAPPED,
  PG_SWAPCACHE,
  stateReferences,
} from "../page/page-state.js";
import { addToSwap, folioSwap } from "../swap/swap-cache.js";
import { splitFolio } from "../thp/split-folio.js";
import { folioCheckReferences } from "./folio-check-references.js";
import { pageout } from "./pageout.js";
import { shrinkActiveList } from "./shrink-active-list.js";
import { tryToUnmap } from "./try-to-unmap.js";

/** Which folio, and on which condition. */
export interface ShrinkRequest {
  /** The folio to try; left out: the last of the inactive list. */
  readonly pfn?: Pfn;
  /** Reclaim only folios that are marked idle; others are passed over. @default false */
  readonly onlyIdle?: boolean;
}

/**
 * What became of a folio:
 * `reclaimed` freed; `kept-referenced` used once, one more round; `activated` used repeatedly, or no swap slot left for it; `kept-locked`
 * its folio lock was taken; `kept-pinned` somebody holds a reference; `kept-not-idle` passed over because of `onlyIdle`;
 * `not-on-list` the pfn asked for is no folio on an LRU list; `empty` there is nothing on the lists.
 */
export type ShrinkResult =
  | "reclaimed"
  | "kept-referenced"
  | "activated"
  | "kept-locked"
  | "kept-pinned"
  | "kept-not-idle"
  | "not-on-list"
  | "empty";

/** Outcome of one step of reclaim. */
export interface ShrinkOutcome {
  /** The folio that was tried; null for `empty` and `not-on-list`. */
  readonly pfn: Pfn | null;
  readonly result: ShrinkResult;
  /** Whether its contents were written to swap, which a clean page with a valid copy does not need. */
  readonly swappedOut: boolean;
}

/**
 * One folio of `shrink_folio_list`, by the protocol: isolate, lock, referenced check, swap slot, unmap inside an invalidation bracket, write
 * if dirty, freeze the references, free. The kernel isolates 32 folios at a time, here it is one, so that each can be timed. A folio that somebody
 * else holds a reference to (a KVM fault on its way) is not waited for: it stays unmapped in the swap cache and goes back to its
 * list, to be freed in a later round or mapped again.
 *
 * @throws ForeignPfnError if `request.pfn` is no host page.
 */
export function shrinkOneFolio(mm: MmStruct, cpu: Cpu, request: ShrinkRequest): ShrinkOutcome {
  const folio = request.pfn === undefined ? nextCandidate(mm, cpu) : isolate(mm, cpu, request.pfn);
  if (folio === NULL_PAGE) {
    return { pfn: null, result: request.pfn === undefined ? "empty" : "not-on-list", swappedOut: false };
  }
  const pfn = mm.memMap.pageToPfn(folio);
  if (!folioTrylock(mm.memMap, cpu, folio)) {
    putback(mm, cpu, folio);
    return { pfn, result: "kept-locked", swappedOut: false };
  }
  const kept = checkAndUnmap(mm, cpu, folio, request.onlyIdle === true);
  const written = kept === null && pageout(mm, cpu, folio);
  const isFreed = kept === null && removeMapping(mm, cpu, folio);
  if (isFreed) return { pfn, result: "reclaimed", swappedOut: written };
  if (kept === "activated") folioSet(mm.memMap, cpu, folio, PG_ACTIVE);
  folioUnlock(mm.memMap, cpu, folio);
  putback(mm, cpu, folio);
  return { pfn, result: kept ?? "kept-pinned", swappedOut: written };
}

/** The last inactive folio, isolated; the inactive list is filled from the active one first if it is short. */
function nextCandidate(mm: MmStruct, cpu: Cpu): Page {
  if (mm.lruvec.inactiveIsLow(cpu)) shrinkActiveList(mm, cpu);
  return mm.lruvec.isolateLast(cpu, INACTIVE_LIST);
}

function isolate(mm: MmStruct, cpu: Cpu, pfn: number): Page {
  const page = mm.memMap.pfnToPage(pfn);
  return mm.lruvec.isolateFolio(cpu, page) ? page : NULL_PAGE;
}

/** `folio_putback_lru`: back to the list that the active flag names; the isolation's reference is dropped. */
function putback(mm: MmStruct, cpu: Cpu, folio: Page): void {
  mm.lruvec.lockLru(cpu);
  mm.lruvec.addFolio(cpu, folio);
  mm.lruvec.unlockLru(cpu);
  folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
}

/** From the referenced check to the unmap. Null if the folio is unmapped and in the swap cache; else why it stays. */
function checkAndUnmap(mm: MmStruct, cpu: Cpu, folio: Page, onlyIdle: boolean): ShrinkResult | null {
  const { memMap } = mm;
  if (onlyIdle && !folioTest(memMap, cpu, folio, PG_IDLE)) return "kept-not-idle";
  const references = folioCheckReferences(mm, cpu, folio);
  if (references === "keep") return "kept-referenced";
  if (references === "activate") return "activated";
  if (folioTest(memMap, cpu, folio, PG_HEAD) && !splitFolio(mm, cpu, folio)) return "kept-pinned";
  if (!folioTest(memMap, cpu, folio, PG_SWAPCACHE)) {
    if (!folioTest(memMap, cpu, folio, PG_MAPPED)) return null;
    if (!addToSwap(mm, cpu, folio)) return "activated";
  }
  if (folioTest(memMap, cpu, folio, PG_MAPPED)) tryToUnmap(mm, cpu, folio);
  return null;
}

/**
 * `__remove_mapping`, and the free: freezes the references if only the isolation and the swap cache hold one and the folio is clean (or not in the
 * swap cache at all, its last mapping being gone). One exchange decides; if it fails because the word changed, look
 * again. From the freeze on nobody gets a reference, so the folio can leave the swap cache and be freed.
 */
function removeMapping(mm: MmStruct, cpu: Cpu, folio: Page): boolean {
  const { memMap } = mm;
  const word = memMap.stateWord(folio);
  let seen = cpu.readOnce(word);
  for (;;) {
    const inSwapCache = (seen & PG_SWAPCACHE) !== 0n;
    if (stateReferences(seen) !== (inSwapCache ? 2 : 1)) return false;
    if (inSwapCache && (seen & PG_DIRTY) !== 0n) return false;
    const found = cpu.cmpxchg(word, seen, frozenState(seen), "full");
    if (found === seen) break;
    seen = found;
  }
  if ((seen & PG_SWAPCACHE) !== 0n) mm.swap.removeFromCache(cpu, folioSwap(mm, cpu, folio));
  folioUnlock(memMap, cpu, folio);
  freeFolio(memMap, mm.lruvec, mm.zone, cpu, folio);
  return true;
}
