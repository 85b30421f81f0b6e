import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear, folioSet } from "./folio-flags.js";
import { folioGet } from "./folio-reference.js";
import type { Page } from "./mem-map.js";
import { PG_ACTIVE, PG_HEAD, PG_IDLE, PG_LRU, PG_REFERENCED } from "./page-state.js";

/**
 * `folio_mark_accessed` without MGLRU: unreferenced becomes referenced, referenced becomes active; either way the folio is no longer
 * idle. The caller holds a reference. Flags change one by one: of two callers at once both may take the same step,
 * which costs one step of a heuristic.
 */
export function folioMarkAccessed(mm: MmStruct, cpu: Cpu, folio: Page): void {
  const { memMap, folioBatches } = mm;
  const state = memMap.readState(cpu, folio);
  if ((state & PG_REFERENCED) === 0n) {
    folioSet(memMap, cpu, folio, PG_REFERENCED);
  } else if ((state & PG_ACTIVE) === 0n) {
    if ((state & PG_LRU) === 0n) {
      folioBatches.activateInBatch(cpu, folio);
    } else {
      folioGet(memMap, cpu, folio);
      folioBatches.activate(cpu, folio, (state & PG_HEAD) !== 0n);
    }
    folioClear(memMap, cpu, folio, PG_REFERENCED);
  }
  if ((state & PG_IDLE) !== 0n) folioClear(memMap, cpu, folio, PG_IDLE);
}
