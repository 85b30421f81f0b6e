import type { LockClass } from "@kvm-age/machine";

/**
 * The lock bit of every list head. Innermost: taken after `mmu_lock` or alone, never two at once, nothing sleeps under it.
 */
export const RMAP_LOCK_CLASS: LockClass = { name: "rmap_head->val (KVM_RMAP_LOCKED)", sleeps: false };
