import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioTestClear, folioTestSet } from "../page/folio-flags.js";
import type { Page } from "../page/mem-map.js";
import { PG_REFERENCED } from "../page/page-state.js";
import { folioReferenced } from "./folio-referenced.js";

/** What is to become of a folio at the end of the inactive list (kernel `enum folio_references`, without its file cases). */
export type FolioReferences = "reclaim" | "keep" | "activate";

/**
 * The decision for an anonymous folio with `references` uses and whose referenced flag was `wasReferenced`: used
 * twice, in two rounds or in two ways, makes it active; used once keeps it one more round.
 */
export function decideFolioReferences(references: number, wasReferenced: boolean): FolioReferences {
  if (references === 0) return "reclaim";
  return wasReferenced || references > 1 ? "activate" : "keep";
}

/** `folio_check_references`: looks for uses, updates the referenced flag, decides. Held: the folio lock. */
export function folioCheckReferences(mm: MmStruct, cpu: Cpu, folio: Page): FolioReferences {
  const references = folioReferenced(mm, cpu, folio);
  const wasReferenced =
    references > 0
      ? folioTestSet(mm.memMap, cpu, folio, PG_REFERENCED)
      : folioTestClear(mm.memMap, cpu, folio, PG_REFERENCED);
  return decideFolioReferences(references, wasReferenced);
}
