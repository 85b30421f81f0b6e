import type { LockClass } from "@kvm-age/machine";

/** Class of `kvm->arch.tdp_mmu_pages_lock`. */
export const TDP_MMU_PAGES_LOCK_CLASS: LockClass = { name: "kvm->arch.tdp_mmu_pages_lock", sleeps: false };
