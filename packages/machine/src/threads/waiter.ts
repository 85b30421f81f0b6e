import type { Arena } from "../arena/arena.js";
import { NAP_WORD } from "../arena/layout.js";

/** Re-reads before a thread gives its core away. About 10 µs on the machines measured (Node 20, 2026). */
const SPINS_BEFORE_SLEEP = 400;
/** Rounds of `relax` before a nap: a holder that was descheduled needs this core. */
const RELAXES_BEFORE_NAP = 128;
const NAP_MS = 0.05;

/** Waiting on 32-bit words: first by re-reading, then on a futex. One per thread. */
export class Waiter {
  private relaxes = 0;

  /** @param mayBlock false where `Atomics.wait` is forbidden (a browser's main thread): waits by re-reading. */
  constructor(
    private readonly arena: Arena,
    private readonly mayBlock: boolean,
  ) {}

  /**
   * Waits until the word at i32 `index` differs from `value`; returns the new value. Before it sleeps it
   * raises `sleepers`, so that the one who changes the word knows to call `wake`.
   */
  waitWhileEqual(index: number, value: number, sleepers: number): number {
    const { i32 } = this.arena;
    for (let spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
      const seen = Atomics.load(i32, index);
      if (seen !== value) return seen;
    }
    Atomics.add(i32, sleepers, 1);
    for (;;) {
      const seen = Atomics.load(i32, index);
      if (seen !== value) {
        Atomics.sub(i32, sleepers, 1);
        return seen;
      }
      // The futex compares again, so a change between the load and the sleep is not slept through.
      if (this.mayBlock) Atomics.wait(i32, index, value);
    }
  }

  /** Wakes the sleepers on i32 `index`, if `sleepers` says there are any. */
  wake(index: number, sleepers: number): void {
    if (Atomics.load(this.arena.i32, sleepers) !== 0) Atomics.notify(this.arena.i32, index);
  }

  /** One round of a loop that re-reads a word itself. */
  relax(): void {
    if (++this.relaxes % RELAXES_BEFORE_NAP === 0) this.nap();
  }

  /** Gives the core away for a moment. */
  nap(): void {
    if (this.mayBlock) Atomics.wait(this.arena.i32, NAP_WORD >>> 2, 0, NAP_MS);
  }
}
