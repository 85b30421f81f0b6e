import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioSet, folioTest } from "./folio-flags.js";
import type { Page } from "./mem-map.js";
import { PG_DIRTY } from "./page-state.js";

/** `folio_mark_dirty`: the contents are about to differ from the copy in swap. Held: a reference. */
export function folioMarkDirty(mm: MmStruct, cpu: Cpu, folio: Page): void {
  if (!folioTest(mm.memMap, cpu, folio, PG_DIRTY)) folioSet(mm.memMap, cpu, folio, PG_DIRTY);
}
