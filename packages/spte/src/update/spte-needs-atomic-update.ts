import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { isAccessTrackSpte } from "../predicate/is-access-track-spte.js";
import { isAccessedSpte } from "../predicate/is-accessed-spte.js";
import { spteAdEnabled } from "../predicate/spte-ad-enabled.js";
import { isMmuWritableSpte, isWritablePte } from "../predicate/writability.js";
import type { VolatileRule } from "./volatile-rule.js";

/** W set and D clear: the CPU may set D at any moment. */
function cpuMaySetDirty(format: SpteFormat, spte: Spte): boolean {
  return isWritablePte(spte) && BigInt.asUintN(64, spte & format.shadowDirtyMask) === 0n;
}

/**
 * Whether a plain store over this shadow-present leaf could lose somebody else's update, although the writer
 * holds `mmu_lock`, by the rule set's own volatile rule (`spte_needs_atomic_update`). Since 6.15 three rules, in this order:
 * 1. not writable but MMU-writable: a fast page fault may set W by compare-exchange;
 * 2. software A/D bits: lockless aging may access-track it and a fast page fault restore it;
 * 3. writable and clean: the CPU may set D.
 * A lost Accessed bit is accepted.
 */
export function spteNeedsAtomicUpdate(format: SpteFormat, spte: Spte): boolean {
  return spteNeedsAtomicUpdateUnder(format.rules.volatileRule, format, spte);
}

/** The same question under an explicit rule. */
export function spteNeedsAtomicUpdateUnder(rule: VolatileRule, format: SpteFormat, spte: Spte): boolean {
  if (!isWritablePte(spte) && isMmuWritableSpte(format, spte)) return true;
  if (!spteAdEnabled(format, spte)) return rule.everyAdDisabled || isAccessTrackSpte(format, spte);
  return cpuMaySetDirty(format, spte) || (rule.accessedBit && !isAccessedSpte(format, spte));
}
