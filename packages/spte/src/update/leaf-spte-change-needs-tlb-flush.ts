import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { isMmuWritableSpte } from "../predicate/writability.js";

/**
 * Whether replacing a leaf by another leaf of the same pfn needs a TLB flush before `mmu_lock` is dropped:
 * only when MMU-writable goes away (`leaf_spte_change_needs_tlb_flush`). Clearing W, A, D or X alone
 * tolerates stale TLB entries. False when the old value is not shadow-present. Zaps, pfn changes and
 * non-leaf entries are the caller's business.
 */
export function leafSpteChangeNeedsTlbFlush(format: SpteFormat, oldSpte: Spte, newSpte: Spte): boolean {
  return (
    isShadowPresentPte(oldSpte) && isMmuWritableSpte(format, oldSpte) && !isMmuWritableSpte(format, newSpte)
  );
}
