import type { Cpu } from "@kvm-age/machine";
import type { Lruvec } from "../lru/lruvec.js";
import type { Zone } from "../zone/zone.js";
import { folioTest } from "./folio-flags.js";
import { folioPutTestzero } from "./folio-reference.js";
import type { MemMap, Page } from "./mem-map.js";
import { PG_HEAD, PG_LRU } from "./page-state.js";

/**
 * `folio_put`: drops a reference; the last one takes the folio off its LRU list and frees it.
 *
 * @throws PageReferenceError if there was none.
 */
export function folioPut(memMap: MemMap, lruvec: Lruvec, zone: Zone, cpu: Cpu, folio: Page): void {
  if (folioPutTestzero(memMap, cpu, folio)) freeFolio(memMap, lruvec, zone, cpu, folio);
}

/**
 * `__folio_put`: frees a folio without references. Nobody can take one any more; reclaim may still see the folio on its list, fails to
 * get a reference and passes it over.
 */
export function freeFolio(memMap: MemMap, lruvec: Lruvec, zone: Zone, cpu: Cpu, folio: Page): void {
  if (folioTest(memMap, cpu, folio, PG_LRU)) {
    lruvec.lockLru(cpu);
    lruvec.deleteFolio(cpu, folio);
    lruvec.unlockLru(cpu);
  }
  if (folioTest(memMap, cpu, folio, PG_HEAD)) zone.freeBlock(cpu, folio);
  else zone.freePage(cpu, folio);
}
