import type { AnyLock, LockClass } from "../locks/lock.js";
import type { Address } from "./address.js";

/** How a lock must be held for an assertion to pass. */
export type HeldMode = "read" | "write" | "any";

/**
 * What code says to the lock validator besides taking locks: assertions (`lockdep_assert_held` and its
 * relatives) and annotations for locks that are not the machine's, such as a bit in a list head.
 */
export interface LockdepHooks {
  /** `lockdep_assert_held[_read|_write]`. A spinlock or mutex counts as held for write. */
  assertHeld(lock: AnyLock, mode: HeldMode): void;
  /** The caller must not hold `lock` in any mode. */
  assertNotHeld(lock: AnyLock): void;
  /** `lockdep_assert_preemption_disabled`. */
  assertPreemptionDisabled(): void;
  /** `rcu_read_lock_held`. */
  assertRcuReadLockHeld(): void;
  /** At least one of the conditions holds: a lock in a mode, an SRCU read section. */
  assertAnyHeld(...locks: AnyLock[]): void;
  /** `might_sleep`: the caller may sleep here, so atomic context is a bug. */
  mightSleep(): void;
  /** A lock outside the machine was acquired: the word at `address`, of class `lockClass`. */
  acquired(lockClass: LockClass, address: Address): void;
  /** The lock announced by `acquired` is about to be released. */
  released(lockClass: LockClass, address: Address): void;
}

/** The null form: no validator, no cost. */
export const noLockdepHooks: LockdepHooks = {
  assertHeld(): void {},
  assertNotHeld(): void {},
  assertPreemptionDisabled(): void {},
  assertRcuReadLockHeld(): void {},
  assertAnyHeld(): void {},
  mightSleep(): void {},
  acquired(): void {},
  released(): void {},
};
