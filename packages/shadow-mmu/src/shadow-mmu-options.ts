import { mergedVolatileRule, type VolatileRule } from "@kvm-age/spte";

/**
 * How rmaps are aged:
 * - `lockless`: under each list's bit, entries changed by one atomic step (6.15 and later);
 * - `mmu-lock-write`: the caller holds `mmu_lock` for write, entries changed as any lock holder changes them (before).
 */
export type ShadowAgingMode = "lockless" | "mmu-lock-write";

/** The few strategies of a shadow MMU, as data. */
export interface ShadowMmuOptions {
  readonly aging: ShadowAgingMode;
  /** When a present leaf may change under a holder of `mmu_lock`. */
  readonly volatileRule: VolatileRule;
  /** Module parameter `nx_huge_pages`: no executable huge pages. */
  readonly nxHugePages: boolean;
  /** Module parameter `nx_huge_pages_recovery_ratio`: one in so many tables is recovered per period; 0 = none. */
  readonly nxHugePagesRecoveryRatio: number;
  /** Module parameter `eager_page_split`: huge pages are split when dirty logging is enabled. */
  readonly eagerPageSplit: boolean;
  /** CPU dirty logging (PML): the log is armed by clearing D instead of W where D is a hardware bit. */
  readonly cpuDirtyLog: boolean;
  /** The legacy quirk: slot deletion zaps everything fast. */
  readonly slotZapAll: boolean;
}

/** What 6.15 and 7.3 do on a host without the NX mitigation. */
export const defaultShadowMmuOptions: ShadowMmuOptions = Object.freeze({
  aging: "lockless",
  volatileRule: mergedVolatileRule,
  nxHugePages: false,
  nxHugePagesRecoveryRatio: 60,
  eagerPageSplit: true,
  cpuDirtyLog: false,
  slotZapAll: true,
});
