/** How the three aging notifiers walk. Fixed for a VM. */
export interface AgingPolicy {
  /**
   * True: handlers run under SRCU alone (`CONFIG_KVM_MMU_LOCKLESS_AGING`, Linux 6.15). False: under
   * `mmu_lock` for write, as before the series.
   */
  readonly lockless: boolean;
  /**
   * Whether `clear_flush_young` flushes all TLBs when it found a young page: true up to Linux 6.12, false
   * with `CONFIG_KVM_ELIDE_TLB_FLUSH_IF_YOUNG`.
   */
  readonly flushIfYoung: boolean;
}

/** x86 since Linux 6.15. */
export const LOCKLESS_AGING: AgingPolicy = { lockless: true, flushIfYoung: false };
/** x86 in Linux 6.13 and 6.14. */
export const LOCKED_AGING: AgingPolicy = { lockless: false, flushIfYoung: false };
/** x86 up to Linux 6.12. */
export const LOCKED_FLUSHING_AGING: AgingPolicy = { lockless: false, flushIfYoung: true };
