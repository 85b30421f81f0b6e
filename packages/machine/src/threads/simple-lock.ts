import type { Arena } from "../arena/arena.js";
import { UnbalancedUnlockError } from "../locks/errors.js";
import type { Mutex, SpinLock } from "../locks/lock.js";
import type { Waiter } from "./waiter.js";

// Spinlocks and mutexes are the same futex here: threads have no interrupts to keep out. One word for the
// holder, one for the number of sleepers.

/** Tries to take the lock; false if somebody holds it. */
export function threadTryLock(arena: Arena, lock: SpinLock | Mutex): boolean {
  return Atomics.compareExchange(arena.i32, lock.address >>> 2, 0, 1) === 0;
}

/** Takes the lock, waiting as long as it is held. */
export function threadLock(arena: Arena, waiter: Waiter, lock: SpinLock | Mutex): void {
  const word = lock.address >>> 2;
  while (Atomics.compareExchange(arena.i32, word, 0, 1) !== 0) waiter.waitWhileEqual(word, 1, word + 1);
}

/** Releases the lock. */
export function threadUnlock(arena: Arena, waiter: Waiter, lock: SpinLock | Mutex): void {
  const word = lock.address >>> 2;
  const before = Atomics.exchange(arena.i32, word, 0);
  if (before !== 1) throw new UnbalancedUnlockError(lock.lockClass.name, lock.address, before);
  waiter.wake(word, word + 1);
}
