import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear, folioTest, folioTestClear } from "../page/folio-flags.js";
import type { Page } from "../page/mem-map.js";
import { PG_IDLE, PG_YOUNG } from "../page/page-state.js";
import { pmdpClearFlushYoungNotify, ptepClearFlushYoungNotify } from "../rmap/clear-young-notify.js";
import { clearYoungRmap } from "../rmap/clear-young-rmap.js";

/**
 * `folio_referenced` without MGLRU: the mappings in which the folio was used since the last look (0 or 1: there is one mm),
 * plus 1 for a use that idle tracking took note of. Clears Accessed, young, and idle if there was a use. Held: the folio lock.
 */
export function folioReferenced(mm: MmStruct, cpu: Cpu, folio: Page): number {
  const { memMap } = mm;
  let referenced = 0;
  if (clearYoungRmap(mm, cpu, folio, ptepClearFlushYoungNotify, pmdpClearFlushYoungNotify)) {
    referenced++;
    folioClear(memMap, cpu, folio, PG_IDLE);
  }
  if (folioTest(memMap, cpu, folio, PG_YOUNG) && folioTestClear(memMap, cpu, folio, PG_YOUNG)) referenced++;
  return referenced;
}
