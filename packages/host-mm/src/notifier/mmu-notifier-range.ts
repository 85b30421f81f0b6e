/**
 * Why a range is invalidated (kernel `enum mmu_notifier_event`). Informational: KVM treats all alike.
 */
export const MmuNotifierEvent = {
  /** munmap or exit. */
  UNMAP: 0,
  /** Reclaim, migration, copy-on-write, MADV_DONTNEED, huge page split or collapse. */
  CLEAR: 1,
  /** mprotect, NUMA hinting. */
  PROTECTION_VMA: 2,
  /** Write protection of single pages for fork or writeback. */
  PROTECTION_PAGE: 3,
  SOFT_DIRTY: 4,
  RELEASE: 5,
  MIGRATE: 6,
  EXCLUSIVE: 7,
} as const;

/** One of the values of `MmuNotifierEvent`. */
export type MmuNotifierEvent = (typeof MmuNotifierEvent)[keyof typeof MmuNotifierEvent];

/** What an invalidation covers (kernel `struct mmu_notifier_range`). */
export interface MmuNotifierRange {
  /** First host virtual address, in bytes. */
  readonly start: number;
  /** First host virtual address behind the range, in bytes. */
  readonly end: number;
  /** Whether the callee may sleep. Every bracket of this package is blockable. */
  readonly blockable: boolean;
  readonly event: MmuNotifierEvent;
}
