/**
 * Conditions on which the kernel warns and goes on (`WARN_ON_ONCE`), in the order of their counters: an empty
 * hva range, a walk with neither handler nor `on_lock`, a lockless walk with `on_lock`, a range added outside
 * an invalidation, an invalidation that ends without a range, a fault that meets one without a range.
 */
export const MEMSLOT_WARNINGS = [
  "empty-hva-range",
  "no-handler",
  "lockless-on-lock",
  "range-add-outside-invalidation",
  "invalidation-without-range",
  "retry-without-range",
] as const;

/** Name of such a condition. */
export type MemslotWarning = (typeof MEMSLOT_WARNINGS)[number];
