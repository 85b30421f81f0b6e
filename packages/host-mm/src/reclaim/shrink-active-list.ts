import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear } from "../page/folio-flags.js";
import { folioPut } from "../page/folio-put.js";
import { ACTIVE_LIST, NULL_PAGE } from "../page/mem-map.js";
import { PG_ACTIVE } from "../page/page-state.js";
import { folioReferenced } from "./folio-referenced.js";

/** Folios moved at a time (kernel `SWAP_CLUSTER_MAX`). */
export const SWAP_CLUSTER_MAX = 32;

/**
 * `shrink_active_list`: moves up to 32 folios from the end of the active list to the front of the inactive one. Each is asked for references, which
 * clears its Accessed bits; only executable file folios would stay for the answer.
 */
export function shrinkActiveList(mm: MmStruct, cpu: Cpu): void {
  for (let moved = 0; moved < SWAP_CLUSTER_MAX; moved++) {
    const folio = mm.lruvec.isolateLast(cpu, ACTIVE_LIST);
    if (folio === NULL_PAGE) return;
    folioReferenced(mm, cpu, folio);
    folioClear(mm.memMap, cpu, folio, PG_ACTIVE);
    mm.lruvec.lockLru(cpu);
    mm.lruvec.addFolio(cpu, folio);
    mm.lruvec.unlockLru(cpu);
    folioPut(mm.memMap, mm.lruvec, mm.zone, cpu, folio);
  }
}
