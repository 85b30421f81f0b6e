import type { Pfn } from "../address/pfn.js";
import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** Host frame the entry points to: a page for a leaf, the child table for a non-leaf (`spte_to_pfn`). */
export function spteToPfn(format: SpteFormat, spte: Spte): Pfn {
  return Number(BigInt.asUintN(64, BigInt.asUintN(64, spte & format.spteBaseAddrMask) >> 12n)) as Pfn;
}
