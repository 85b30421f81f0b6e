import { mergedVolatileRule, type VolatileRule } from "@kvm-age/spte";

/**
 * How the TDP MMU ages:
 * - `lockless`: RCU only, entries changed by one atomic step (6.15 and later);
 * - `mmu-lock-write`: the caller holds `mmu_lock` for write, entries changed as any lock holder changes them (before).
 */
export type TdpAgingMode = "lockless" | "mmu-lock-write";

/**
 * How lockless aging visits the leaves of a table where A is a hardware bit: entry by entry with the full iterator,
 * or with the machine's native loop over the table's words. Same effect; tracing always takes the iterator.
 */
export type LeafScan = "iterator" | "native";

/** The few strategies of a TDP MMU, as data. */
export interface TdpMmuOptions {
  readonly aging: TdpAgingMode;
  readonly leafScan: LeafScan;
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
  /** `kvm->arch.vm_type` allows it and the quirk is on: slot deletion zaps everything fast. */
  readonly slotZapAll: boolean;
  /**
   * `CONFIG_KVM_PROVE_MMU`: roots are zapped from 1 GiB entries on, populated tables and all, so that every zap tries what else only a
   * huge page over a table does.
   */
  readonly proveMmu: boolean;
}

/** What 6.15 and 7.3 do on a host without the NX mitigation. */
export const defaultTdpMmuOptions: TdpMmuOptions = Object.freeze({
  aging: "lockless",
  leafScan: "native",
  volatileRule: mergedVolatileRule,
  nxHugePages: false,
  nxHugePagesRecoveryRatio: 60,
  eagerPageSplit: true,
  cpuDirtyLog: false,
  slotZapAll: true,
  proveMmu: false,
});
