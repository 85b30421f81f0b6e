import type { LockClass } from "@kvm-age/machine";

/** `kvm->arch.mmu_unsync_pages_lock`: taken inside `mmu_lock` held for read; nothing is taken inside it. */
export const MMU_UNSYNC_PAGES_LOCK_CLASS: LockClass = {
  name: "kvm->arch.mmu_unsync_pages_lock",
  sleeps: false,
};
