import type { Arena } from "../arena/arena.js";
import { UnbalancedUnlockError } from "../locks/errors.js";
import type { RwLock } from "../locks/lock.js";
import type { Waiter } from "./waiter.js";

// The kernel's queued rwlock on futexes (qrwlock): one count word and a FIFO of waiters of either kind. Who
// cannot get the lock at once joins the FIFO; only its first waits on the count. So a waiting writer
// holds back every reader that comes after it, readers behind a reader enter as a batch, and nobody starves.

/** A writer holds the lock. */
const WRITER_LOCKED = 0xff;
/** The writer at the head of the queue waits; new readers queue. */
const WRITER_WAITING = 0x100;
const READER = 0x200;

// i32 words of the lock.
const COUNT = 0;
const COUNT_SLEEPERS = 1;
const NEXT_TICKET = 2;
const NOW_SERVING = 3;
const TICKET_SLEEPERS = 4;

function enterQueue(arena: Arena, waiter: Waiter, base: number): void {
  const { i32 } = arena;
  const ticket = Atomics.add(i32, base + NEXT_TICKET, 1);
  let serving = Atomics.load(i32, base + NOW_SERVING);
  while (serving !== ticket) {
    serving = waiter.waitWhileEqual(base + NOW_SERVING, serving, base + TICKET_SLEEPERS);
  }
}

function leaveQueue(arena: Arena, waiter: Waiter, base: number): void {
  Atomics.add(arena.i32, base + NOW_SERVING, 1);
  waiter.wake(base + NOW_SERVING, base + TICKET_SLEEPERS);
}

/** Takes the lock shared. */
export function threadReadLock(arena: Arena, waiter: Waiter, lock: RwLock): void {
  const { i32 } = arena;
  const base = lock.address >>> 2;
  const before = Atomics.add(i32, base + COUNT, READER);
  if ((before & (WRITER_LOCKED | WRITER_WAITING)) === 0) return;
  // Taken back: a reader that queues must not keep the writer before it out.
  Atomics.sub(i32, base + COUNT, READER);
  waiter.wake(base + COUNT, base + COUNT_SLEEPERS);
  enterQueue(arena, waiter, base);
  let count = Atomics.add(i32, base + COUNT, READER) + READER;
  while ((count & WRITER_LOCKED) !== 0) {
    count = waiter.waitWhileEqual(base + COUNT, count, base + COUNT_SLEEPERS);
  }
  leaveQueue(arena, waiter, base);
}

/** Releases a shared hold. */
export function threadReadUnlock(arena: Arena, waiter: Waiter, lock: RwLock): void {
  const base = lock.address >>> 2;
  const before = Atomics.sub(arena.i32, base + COUNT, READER);
  if (before < READER) {
    Atomics.add(arena.i32, base + COUNT, READER);
    throw new UnbalancedUnlockError(lock.lockClass.name, lock.address, before);
  }
  waiter.wake(base + COUNT, base + COUNT_SLEEPERS);
}

/** Takes the lock exclusively. */
export function threadWriteLock(arena: Arena, waiter: Waiter, lock: RwLock): void {
  const { i32 } = arena;
  const base = lock.address >>> 2;
  if (Atomics.compareExchange(i32, base + COUNT, 0, WRITER_LOCKED) === 0) return;
  enterQueue(arena, waiter, base);
  if (Atomics.compareExchange(i32, base + COUNT, 0, WRITER_LOCKED) !== 0) {
    let count = Atomics.or(i32, base + COUNT, WRITER_WAITING) | WRITER_WAITING;
    for (;;) {
      if (count === WRITER_WAITING) {
        count = Atomics.compareExchange(i32, base + COUNT, WRITER_WAITING, WRITER_LOCKED);
        if (count === WRITER_WAITING) break;
      }
      count = waiter.waitWhileEqual(base + COUNT, count, base + COUNT_SLEEPERS);
    }
  }
  leaveQueue(arena, waiter, base);
}

/** Releases an exclusive hold. */
export function threadWriteUnlock(arena: Arena, waiter: Waiter, lock: RwLock): void {
  const base = lock.address >>> 2;
  const before = Atomics.sub(arena.i32, base + COUNT, WRITER_LOCKED);
  if ((before & WRITER_LOCKED) !== WRITER_LOCKED) {
    Atomics.add(arena.i32, base + COUNT, WRITER_LOCKED);
    throw new UnbalancedUnlockError(lock.lockClass.name, lock.address, before);
  }
  waiter.wake(base + COUNT, base + COUNT_SLEEPERS);
}

/** True if a thread is queued for the lock. */
export function threadRwlockIsContended(arena: Arena, lock: RwLock): boolean {
  const base = lock.address >>> 2;
  return Atomics.load(arena.i32, base + NEXT_TICKET) !== Atomics.load(arena.i32, base + NOW_SERVING);
}
