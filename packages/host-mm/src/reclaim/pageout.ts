import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioTestClear } from "../page/folio-flags.js";
import type { Page } from "../page/mem-map.js";
import { PG_DIRTY, PG_MAPPED, PG_SWAPCACHE, stateReferences } from "../page/page-state.js";
import { folioSwap } from "../swap/swap-cache.js";

/** References of an isolated folio in the swap cache that nobody else holds. */
const FREEABLE_REFERENCES = 2;

/**
 * `pageout`: writes a dirty, unmapped folio to its swap slot; true if it did. The device is memory, so the write is done at once. A folio that somebody
 * else holds is not written: the holder may make it dirty again. The flag goes before the copy, so a later write sets it
 * again and keeps the folio. Held: the folio lock.
 */
export function pageout(mm: MmStruct, cpu: Cpu, folio: Page): boolean {
  const state = mm.memMap.readState(cpu, folio);
  if ((state & PG_SWAPCACHE) === 0n || (state & PG_MAPPED) !== 0n) return false;
  if ((state & PG_DIRTY) === 0n || stateReferences(state) !== FREEABLE_REFERENCES) return false;
  if (!folioTestClear(mm.memMap, cpu, folio, PG_DIRTY)) return false;
  mm.contents?.writeToSwap(cpu, folio, folioSwap(mm, cpu, folio));
  return true;
}
