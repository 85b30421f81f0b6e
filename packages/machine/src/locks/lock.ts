import type { Address } from "../cpu/address.js";

/**
 * A lock class: all locks with the same role, as lockdep sees them. Declared once, as a module constant, by
 * the package that owns the lock.
 */
export interface LockClass {
  /** The kernel's name of the lock, e.g. `kvm->mmu_lock`. */
  readonly name: string;
  /** True if a holder may sleep (mutex, SRCU); taking such a lock in atomic context is a bug. */
  readonly sleeps: boolean;
  /**
   * True if a processor may hold two locks of the class at once, in an order of their own
   * (`spin_lock_nested`). Absent: the lock validator reports that as recursion.
   */
  readonly nests?: true;
}

/**
 * A reader/writer lock of `RWLOCK_BYTES` in the arena: a spinning one (`rwlock_t`), or, if its class sleeps, a semaphore
 * (`rw_semaphore`, such as `mmap_lock`).
 */
export interface RwLock {
  readonly kind: "rwlock";
  readonly address: Address;
  readonly lockClass: LockClass;
}

/** A spinlock of `SPINLOCK_BYTES` in the arena. */
export interface SpinLock {
  readonly kind: "spinlock";
  readonly address: Address;
  readonly lockClass: LockClass;
}

/** A sleeping mutual-exclusion lock of `MUTEX_BYTES` in the arena. */
export interface Mutex {
  readonly kind: "mutex";
  readonly address: Address;
  readonly lockClass: LockClass;
}

/** A sleepable-RCU domain of `srcuBytes(maxCpus)` in the arena. */
export interface Srcu {
  readonly kind: "srcu";
  readonly address: Address;
  readonly lockClass: LockClass;
}

export type AnyLock = RwLock | SpinLock | Mutex | Srcu;

/** Size of the lock structures; all zero is unlocked. Aligned to 8. */
export const RWLOCK_BYTES = 32;
export const SPINLOCK_BYTES = 8;
export const MUTEX_BYTES = 8;

/** Bytes of an SRCU domain on a machine of `maxCpus` processors; all zero is no readers. */
export function srcuBytes(maxCpus: number): number {
  return 16 + 16 * maxCpus;
}
