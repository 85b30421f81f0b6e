import type { InvariantId } from "./invariant.js";
import { sentenceOf } from "./invariants.js";

/** One thing that is not as it must be. */
export interface ComplianceViolation {
  /** The invariants that the finding breaks, or one of which it breaks. */
  readonly invariants: readonly InvariantId[];
  /** What was found, with addresses and values. */
  readonly found: string;
}

/** What a check of a VM at rest came to. */
export interface ComplianceReport {
  /** Every invariant that was looked at. */
  readonly checked: readonly InvariantId[];
  /** Empty if all is well. */
  readonly violations: readonly ComplianceViolation[];
}

/** A violation as one line, for people. */
export function describeViolation({ invariants, found }: ComplianceViolation): string {
  const [first] = invariants;
  return `[${invariants.join(", ")}] ${found}${invariants.length === 1 ? ` (${sentenceOf(first!)})` : ""}`;
}
