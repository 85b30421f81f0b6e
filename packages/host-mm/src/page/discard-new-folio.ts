import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear } from "./folio-flags.js";
import { folioPut } from "./folio-put.js";
import type { Page } from "./mem-map.js";
import { PG_LOCKED, PG_MAPPED, PG_SWAPCACHE } from "./page-state.js";

/**
 * Frees a folio that a fault made and then did not need, with the `references` it was made with. By reference and not at once: who
 * came by pfn, from the page's former life, may hold one for a moment.
 */
export function discardNewFolio(mm: MmStruct, cpu: Cpu, folio: Page, references: number): void {
  folioClear(mm.memMap, cpu, folio, PG_LOCKED | PG_MAPPED | PG_SWAPCACHE);
  for (let dropped = 0; dropped < references; dropped++) {
    folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  }
}
