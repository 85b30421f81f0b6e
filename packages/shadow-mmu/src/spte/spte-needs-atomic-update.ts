import { isShadowPresentPte, type Spte, spteNeedsAtomicUpdateUnder } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";

/**
 * `spte_needs_atomic_update` under the MMU's volatile rule: whether a plain store over a leaf could lose an update although the
 * writer holds `mmu_lock` for write. What is not present changes under nobody who holds the lock.
 */
export function shadowSpteNeedsAtomicUpdate(mmu: ShadowMmu, spte: Spte): boolean {
  return isShadowPresentPte(spte) && spteNeedsAtomicUpdateUnder(mmu.options.volatileRule, mmu.format, spte);
}
