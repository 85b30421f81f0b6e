import type { Arena } from "../arena/arena.js";
import type { Srcu } from "../locks/lock.js";
import type { Waiter } from "./waiter.js";

// Sleepable RCU: two sets of per-processor counters, entries and exits. A reader counts in the set that
// the index names; a grace period flips the index and waits until the old set's sums are equal.

const INDEX = 0;
const MUTEX = 1;
const MUTEX_SLEEPERS = 2;
const HEADER_WORDS = 4;
const WORDS_PER_CPU = 4;

function counterWord(srcu: Srcu, cpu: number, index: number, exits: boolean): number {
  return (srcu.address >>> 2) + HEADER_WORDS + cpu * WORDS_PER_CPU + index * 2 + (exits ? 1 : 0);
}

/** Enters a read section; returns the index to leave it with. */
export function threadSrcuReadLock(arena: Arena, srcu: Srcu, cpu: number): number {
  const index = Atomics.load(arena.u32, (srcu.address >>> 2) + INDEX) & 1;
  // Sequentially consistent: pairs with the sums in `readersActive`. A flip between the two steps leaves this
  // reader in the old set, which this or the next grace period waits for.
  Atomics.add(arena.u32, counterWord(srcu, cpu, index, false), 1);
  return index;
}

export function threadSrcuReadUnlock(arena: Arena, srcu: Srcu, cpu: number, index: number): void {
  Atomics.add(arena.u32, counterWord(srcu, cpu, index, true), 1);
}

/** Exits are summed before entries: a reader that enters in between makes the sums differ, never equal by chance. */
function readersActive(arena: Arena, srcu: Srcu, maxCpus: number, index: number): boolean {
  let exits = 0;
  let entries = 0;
  for (let cpu = 0; cpu < maxCpus; cpu++)
    exits += Atomics.load(arena.u32, counterWord(srcu, cpu, index, true));
  for (let cpu = 0; cpu < maxCpus; cpu++)
    entries += Atomics.load(arena.u32, counterWord(srcu, cpu, index, false));
  return ((entries - exits) | 0) !== 0;
}

/** Waits until every reader that was inside at the call has left. */
export function threadSynchronizeSrcu(arena: Arena, waiter: Waiter, srcu: Srcu, maxCpus: number): void {
  const { i32 } = arena;
  const base = srcu.address >>> 2;
  while (Atomics.compareExchange(i32, base + MUTEX, 0, 1) !== 0) {
    waiter.waitWhileEqual(base + MUTEX, 1, base + MUTEX_SLEEPERS);
  }
  // The idle set first: a reader that read the index before an earlier flip may still be entering it, and after this flip it
  // would count as new.
  const index = Atomics.load(i32, base + INDEX) & 1;
  while (readersActive(arena, srcu, maxCpus, index ^ 1)) waiter.relax();
  Atomics.add(i32, base + INDEX, 1);
  while (readersActive(arena, srcu, maxCpus, index)) waiter.relax();
  Atomics.store(i32, base + MUTEX, 0);
  waiter.wake(base + MUTEX, base + MUTEX_SLEEPERS);
}
