import type { RuleSet } from "../rules/rule-set.js";

/** SPTE bits in which access tracking keeps the permissions it took away. */
export function accTrackSavedField(rules: RuleSet): bigint {
  return BigInt.asUintN(64, rules.accTrackSavedBitsMask << rules.accTrackSavedBitsShift);
}
