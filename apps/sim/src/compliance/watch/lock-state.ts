import type { Address } from "@kvm-age/machine";

/** How one thread holds `mmu_lock`. */
export type MmuLockMode = "none" | "read" | "write";

/** What one thread holds of the locks that decide who may write what. */
export interface LockState {
  mmuLock: MmuLockMode;
  /** Holds of `kvm->srcu` and `slots_lock`, either of which keeps the slots and their lists. */
  slotHolds: number;
  /** The list that the thread has locked last and not unlocked; 0 for none. */
  rmapHead: Address;
}
