import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { PgLevel } from "../level/pg-level.js";
import { isLastSpte } from "../predicate/is-last-spte.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { spteNeedsAtomicUpdate } from "./spte-needs-atomic-update.js";

/**
 * Whether a TDP MMU writer must exchange rather than store over the value in a table of the given level:
 * only present leaves can change under `mmu_lock` (`kvm_tdp_mmu_spte_need_atomic_update`).
 */
export function kvmTdpMmuSpteNeedAtomicUpdate(format: SpteFormat, spte: Spte, level: PgLevel): boolean {
  return isShadowPresentPte(spte) && isLastSpte(spte, level) && spteNeedsAtomicUpdate(format, spte);
}
