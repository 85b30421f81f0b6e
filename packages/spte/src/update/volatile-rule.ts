/**
 * When a present leaf may change under a thread that holds `mmu_lock`, so that a plain store would lose an
 * update. The three forms the rule had around the lockless-aging series.
 */
export interface VolatileRule {
  readonly name: string;
  /** Every entry with software A/D bits counts, not only access-tracked ones. */
  readonly everyAdDisabled: boolean;
  /** A clear Accessed bit that the CPU may set counts. */
  readonly accessedBit: boolean;
}

/** `spte_needs_atomic_update` as merged in 6.15 and unchanged in 7.3. */
export const mergedVolatileRule: VolatileRule = Object.freeze({
  name: "merged",
  everyAdDisabled: true,
  accessedBit: false,
});

/** `spte_needs_atomic_write` as posted in version 9 of the series. */
export const v9VolatileRule: VolatileRule = Object.freeze({
  name: "v9",
  everyAdDisabled: false,
  accessedBit: false,
});

/** `spte_has_volatile_bits` of 6.12 and of the tree the series was written for. */
export const baseVolatileRule: VolatileRule = Object.freeze({
  name: "base",
  everyAdDisabled: false,
  accessedBit: true,
});
