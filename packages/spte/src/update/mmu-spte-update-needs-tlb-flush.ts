import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isAccessedSpte } from "../predicate/is-accessed-spte.js";
import { isDirtySpte } from "../predicate/is-dirty-spte.js";
import { isShadowPresentPte } from "../predicate/is-shadow-present-pte.js";
import { isMmuWritableSpte, isWritablePte } from "../predicate/writability.js";
import { leafSpteChangeNeedsTlbFlush } from "./leaf-spte-change-needs-tlb-flush.js";

/**
 * Whether the shadow MMU owes a flush before `mmu_lock` is dropped after it replaced a leaf by another leaf of the same page (return value
 * of `mmu_spte_update`): since 6.13 when MMU-writable goes; before, also when W goes from an entry that could get it back without the lock,
 * or when A or D goes. False when the old value is not shadow-present.
 */
export function mmuSpteUpdateNeedsTlbFlush(format: SpteFormat, oldSpte: Spte, newSpte: Spte): boolean {
  if (format.rules.mmuSpteUpdateFlush === "mmu-writable-lost") {
    return leafSpteChangeNeedsTlbFlush(format, oldSpte, newSpte);
  }
  if (!isShadowPresentPte(oldSpte)) return false;
  return (
    (isMmuWritableSpte(format, oldSpte) && !isWritablePte(newSpte)) ||
    (isAccessedSpte(format, oldSpte) && !isAccessedSpte(format, newSpte)) ||
    (isDirtySpte(format, oldSpte) && !isDirtySpte(format, newSpte))
  );
}
