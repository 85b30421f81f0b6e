import type { Arena } from "../arena/arena.js";
import { cpuRcuWord, RCU_EPOCH_WORD } from "../arena/layout.js";
import type { Address } from "../cpu/address.js";
import type { Cpu } from "../cpu/cpu.js";
import { GracePeriodDeadlockError, UnbalancedUnlockError } from "../locks/errors.js";
import type { RcuCallback } from "../rcu/rcu-callback.js";
import type { Waiter } from "./waiter.js";

/** Read sections between two attempts to move the epoch and run what is due. */
const UNLOCKS_PER_ADVANCE = 32;
const EPOCH_MASK = 0x7fffffff;

/**
 * RCU for real threads by epochs. A reader publishes the epoch it entered in; the epoch moves on only when
 * every reader inside has published the current one. What was unlinked in epoch e may go when the epoch is e + 2:
 * a reader that could have seen it entered in e or before, and holds the epoch at most at e + 1 while inside.
 *
 * Callbacks wait in a list through the `rcu_head`s in the arena, first queued first run, on the thread that
 * queued them.
 */
export class ThreadRcu {
  private nesting = 0;
  private unlocks = 0;
  private pendingHead = 0;
  private pendingTail = 0;
  private running = false;
  private readonly callbacks = new Map<number, RcuCallback>();
  private readonly ownWord: number;

  constructor(
    private readonly arena: Arena,
    private readonly waiter: Waiter,
    private readonly maxCpus: number,
    cpuId: number,
  ) {
    this.ownWord = cpuRcuWord(cpuId) >>> 2;
  }

  get inReadSection(): boolean {
    return this.nesting > 0;
  }

  readLock(): void {
    if (this.nesting++ > 0) return;
    const epoch = Atomics.load(this.arena.u32, RCU_EPOCH_WORD >>> 2);
    // Sequentially consistent: the mark is seen before any load of the section. If the epoch moved since it
    // was read, the mark is older than necessary, which only delays the next grace period.
    Atomics.store(this.arena.u32, this.ownWord, ((epoch << 1) | 1) >>> 0);
  }

  readUnlock(cpu: Cpu): void {
    if (this.nesting === 0)
      throw new UnbalancedUnlockError("rcu_read_lock", (this.ownWord * 4) as Address, 0);
    if (--this.nesting > 0) return;
    Atomics.store(this.arena.u32, this.ownWord, 0);
    if (this.pendingHead !== 0 && ++this.unlocks % UNLOCKS_PER_ADVANCE === 0) this.advanceAndRun(cpu);
  }

  /** Queues `head` for the grace period that starts now. */
  call(head: Address, callback: RcuCallback): void {
    const { u32 } = this.arena;
    this.callbacks.set(callback.id, callback);
    // Pairs with the mark in `readLock`: the unlinking store, which may be a plain one still in the store buffer, is
    // seen before the epoch is read. Without it the epoch could be two ahead before a reader misses the object.
    this.arena.atomics64.fence();
    const word = head >>> 2;
    u32[word] = 0;
    u32[word + 1] = callback.id;
    u32[word + 2] = Atomics.load(u32, RCU_EPOCH_WORD >>> 2);
    if (this.pendingTail === 0) this.pendingHead = head;
    else u32[this.pendingTail >>> 2] = head;
    this.pendingTail = head;
  }

  synchronize(): void {
    if (this.nesting > 0) throw new GracePeriodDeadlockError("synchronize_rcu");
    const { u32 } = this.arena;
    // As in `call`: what the caller unlinked is seen before the epoch is read.
    this.arena.atomics64.fence();
    const start = Atomics.load(u32, RCU_EPOCH_WORD >>> 2);
    while (((Atomics.load(u32, RCU_EPOCH_WORD >>> 2) - start) | 0) < 2) {
      if (!this.tryAdvance()) this.waiter.relax();
    }
  }

  /** Waits until every callback of this thread has run. */
  barrier(cpu: Cpu): void {
    while (this.pendingHead !== 0) {
      this.synchronize();
      this.runDue(cpu);
    }
  }

  private advanceAndRun(cpu: Cpu): void {
    this.tryAdvance();
    this.runDue(cpu);
  }

  /** Moves the epoch on if every reader inside entered in the current one. */
  private tryAdvance(): boolean {
    const { u32 } = this.arena;
    const epoch = Atomics.load(u32, RCU_EPOCH_WORD >>> 2);
    for (let cpu = 0; cpu < this.maxCpus; cpu++) {
      const mark = Atomics.load(u32, cpuRcuWord(cpu) >>> 2);
      if ((mark & 1) !== 0 && mark >>> 1 !== (epoch & EPOCH_MASK)) return false;
    }
    // Losing this exchange means another thread moved the epoch: as good.
    Atomics.compareExchange(u32, RCU_EPOCH_WORD >>> 2, epoch, (epoch + 1) >>> 0);
    return true;
  }

  private runDue(cpu: Cpu): void {
    if (this.running) return;
    this.running = true;
    try {
      this.runUpTo(Atomics.load(this.arena.u32, RCU_EPOCH_WORD >>> 2), cpu);
    } finally {
      this.running = false;
    }
  }

  private runUpTo(epoch: number, cpu: Cpu): void {
    const { u32 } = this.arena;
    while (this.pendingHead !== 0) {
      const head = this.pendingHead as Address;
      const word = head >>> 2;
      if (((epoch - u32[word + 2]!) | 0) < 2) break;
      this.pendingHead = u32[word]!;
      if (this.pendingHead === 0) this.pendingTail = 0;
      const callback = this.callbacks.get(u32[word + 1]!)!;
      callback.run(cpu, head);
    }
  }
}
