import {
  isAccessTrackSpte,
  isMmuWritableSpte,
  isShadowPresentPte,
  restoreAccTrackSpte,
  type Spte,
  type SpteFormat,
} from "@kvm-age/spte";

const W = 0x2n;

/** What `fast_page_fault` can make of a value. */
export class FastFaultResults {
  readonly #format: SpteFormat;

  constructor(format: SpteFormat) {
    this.#format = format;
  }

  /** The values that a fault may leave, the old one left out. */
  results(spte: Spte): readonly Spte[] {
    return [...new Set([this.result(spte, false), this.result(spte, true)])].filter(
      (result) => result !== spte,
    );
  }

  /** The value after a fault that was fixed: permissions restored, and W for a write that may be granted. */
  result(spte: Spte, write: boolean): Spte {
    if (!isShadowPresentPte(spte)) return spte;
    let result = spte as bigint;
    if (!this.#format.kvmAdEnabled && isAccessTrackSpte(this.#format, spte)) {
      result = restoreAccTrackSpte(this.#format, spte) | this.#format.shadowAccessedMask;
    }
    if (write && isMmuWritableSpte(this.#format, spte)) result |= W;
    return BigInt.asUintN(64, result) as Spte;
  }
}
