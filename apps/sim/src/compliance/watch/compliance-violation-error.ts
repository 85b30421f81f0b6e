import { hex } from "../hex.js";
import type { InvariantId } from "../invariant.js";
import { sentenceOf } from "../invariants.js";

/** Thrown when a thread is about to write something that it may not, by what it holds or by what it writes. */
export class ComplianceViolationError extends Error {
  override readonly name = "ComplianceViolationError";

  constructor(
    readonly invariant: InvariantId,
    readonly what: string,
    readonly address: number,
  ) {
    super(`[${invariant}] ${what} at ${hex(address)}: ${sentenceOf(invariant)}`);
  }
}
