import {
  type Address,
  type LockClass,
  type Mutex,
  offset,
  type RwLock,
  type SpinLock,
  type Srcu,
} from "@kvm-age/machine";
import {
  MEMSLOTS_MMU_LOCK,
  MEMSLOTS_MN_INVALIDATE_LOCK,
  MEMSLOTS_SLOTS_ARCH_LOCK,
  MEMSLOTS_SLOTS_LOCK,
  MEMSLOTS_SRCU,
} from "./memslots-layout.js";

/** Serialises slot updates and dirty-log requests. Taken before `slots_arch_lock`; never inside SRCU. */
export const SLOTS_LOCK_CLASS: LockClass = { name: "kvm->slots_lock", sleeps: true };
/** The slots' metadata array pointers, which may appear outside `slots_lock`. May be taken inside SRCU. */
export const SLOTS_ARCH_LOCK_CLASS: LockClass = { name: "kvm->slots_arch_lock", sleeps: true };
/** Everything of the MMUs, and the invalidation state. Nothing sleeps under it. */
export const MMU_LOCK_CLASS: LockClass = { name: "kvm->mmu_lock", sleeps: false };
/** `mn_active_invalidate_count`. A leaf. */
export const MN_INVALIDATE_LOCK_CLASS: LockClass = { name: "kvm->mn_invalidate_lock", sleeps: false };
/**
 * For the lock validator: the wait of a memslot update for notifier callbacks, which come and go by `mn_active_invalidate_count`. A callback
 * holds it, an update waits for it; so no callback may wait for what updates hold, `slots_lock` and `slots_arch_lock`.
 */
export const MN_ACTIVE_INVALIDATE_CLASS: LockClass = {
  name: "kvm->mn_active_invalidate_count",
  sleeps: true,
};
/** Keeps the active sets and what they own. */
export const SRCU_CLASS: LockClass = { name: "kvm->srcu", sleeps: true };

/** The locks of one VM, fields of the kernel's `struct kvm`. */
export interface KvmLocks {
  readonly slotsLock: Mutex;
  readonly slotsArchLock: Mutex;
  readonly mmuLock: RwLock;
  readonly mnInvalidateLock: SpinLock;
  readonly srcu: Srcu;
}

/** The locks of the memslots at `address`. */
export function kvmLocksAt(address: Address): KvmLocks {
  return {
    slotsLock: { kind: "mutex", address: offset(address, MEMSLOTS_SLOTS_LOCK), lockClass: SLOTS_LOCK_CLASS },
    slotsArchLock: {
      kind: "mutex",
      address: offset(address, MEMSLOTS_SLOTS_ARCH_LOCK),
      lockClass: SLOTS_ARCH_LOCK_CLASS,
    },
    mmuLock: { kind: "rwlock", address: offset(address, MEMSLOTS_MMU_LOCK), lockClass: MMU_LOCK_CLASS },
    mnInvalidateLock: {
      kind: "spinlock",
      address: offset(address, MEMSLOTS_MN_INVALIDATE_LOCK),
      lockClass: MN_INVALIDATE_LOCK_CLASS,
    },
    srcu: { kind: "srcu", address: offset(address, MEMSLOTS_SRCU), lockClass: SRCU_CLASS },
  };
}
