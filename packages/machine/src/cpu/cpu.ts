import type { FlushDomain, FlushRange } from "../flush/flush-domain.js";
import type { Mutex, RwLock, SpinLock, Srcu } from "../locks/lock.js";
import type { RcuCallback } from "../rcu/rcu-callback.js";
import type { Address } from "./address.js";
import type { LockdepHooks } from "./lockdep-hooks.js";
import type { TraceEvent } from "./trace-event.js";

/**
 * Memory order of a read-modify-write, by the kernel's suffixes: `cmpxchg_relaxed`, `_acquire`,
 * `_release`, and the unsuffixed form, which is `full`. Real threads always execute the locked
 * instruction (full on x86); a checker gives the argument its meaning.
 */
export type MemoryOrder = "relaxed" | "acquire" | "release" | "full";

/**
 * One processor's view of the shared arena, and the only way to it.
 *
 * Operations of the MMU are plain synchronous functions of a `Cpu`. A machine decides what an access
 * means: an instruction (threads), a cost (virtual time), a scheduling point (explorer). Three rules make
 * that possible and hold for every caller:
 *
 * 1. All mutable shared state lives in the arena. One word has one width for its whole life: 64 bits
 *    (`bigint`, the plain names) or 32 bits (`number` in [0, 2^32), the names ending in `32`).
 * 2. An operation is deterministic given what its accesses return.
 * 3. Whatever an access throws is not caught, except to rethrow. A machine may throw a sentinel out of an
 *    access to suspend the operation and call it again later; while it unwinds, release-type calls
 *    (`…Unlock`, `preemptEnable`, `storeRelease` excepted) are silent, so `finally` blocks are harmless.
 *
 * A misaligned address is a programming error; the address sanitizer layer names it.
 */
export interface Cpu {
  /** Number of this processor in its machine, 0 … `maxCpus - 1`; stable while attached. */
  readonly id: number;

  // ---- 64-bit words ------------------------------------------------------------------------------

  /** `READ_ONCE`: a single-copy atomic load without ordering. Never for a spin loop: use `loadAcquire`. */
  readOnce(address: Address): bigint;
  /** `WRITE_ONCE`: a single-copy atomic store without ordering. `value` is in [0, 2^64). */
  writeOnce(address: Address, value: bigint): void;
  /** `smp_load_acquire`: no later access of this processor is seen before the load. */
  loadAcquire(address: Address): bigint;
  /** `smp_store_release`: every earlier access of this processor is seen before the store. */
  storeRelease(address: Address, value: bigint): void;
  /** `cmpxchg`: stores `replacement` if the word equals `expected`; returns the value found either way. */
  cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint;
  /** `xchg`: stores `value` and returns the value replaced. */
  xchg(address: Address, value: bigint, order: MemoryOrder): bigint;
  /** `atomic_fetch_and`: returns the value before. */
  fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint;
  /** `atomic_fetch_or`: returns the value before. */
  fetchOr(address: Address, mask: bigint, order: MemoryOrder): bigint;
  /** `atomic_fetch_add` modulo 2^64: returns the value before. */
  fetchAdd(address: Address, addend: bigint, order: MemoryOrder): bigint;

  /**
   * Ages a run of `count` 64-bit words from `address`: for each word in turn, reads it once and, if
   * `(word & mask) === value`, clears `clear` in it by `method`. Returns how many words matched. Defined as
   * that sequence of single accesses (`clearBitsWhereOneByOne`), which every checking machine uses; threads run it as
   * one loop of native instructions.
   *
   * `cmpxchg` is not retried: if the word changed after it was read, it is left as it is and still counted.
   * `fetch-and` clears the bits of whatever the word holds by then.
   */
  clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number;

  /**
   * `memset64`: sets `count` words from `address`. Not atomic and without order: only for memory that no other
   * processor can reach yet (or any more). One step for every machine.
   */
  memset64(address: Address, value: bigint, count: number): void;

  // ---- 32-bit words ------------------------------------------------------------------------------

  readOnce32(address: Address): number;
  writeOnce32(address: Address, value: number): void;
  loadAcquire32(address: Address): number;
  storeRelease32(address: Address, value: number): void;
  cmpxchg32(address: Address, expected: number, replacement: number, order: MemoryOrder): number;
  xchg32(address: Address, value: number, order: MemoryOrder): number;
  fetchAnd32(address: Address, mask: number, order: MemoryOrder): number;
  fetchOr32(address: Address, mask: number, order: MemoryOrder): number;
  /** Modulo 2^32; `addend` may be negative. */
  fetchAdd32(address: Address, addend: number, order: MemoryOrder): number;

  // ---- Fences ------------------------------------------------------------------------------------

  /** `smp_mb`: orders every earlier access before every later one. */
  smpMb(): void;
  /** `smp_rmb`: orders earlier loads before later loads. */
  smpRmb(): void;
  /** `smp_wmb`: orders earlier stores before later stores. */
  smpWmb(): void;

  // ---- Waiting and scheduling ----------------------------------------------------------------------

  /**
   * `cpu_relax` in a loop that waits for the word at `address` (of either width) to change. A hint to
   * threads; the wake-up condition to the other machines. The loop re-reads the word afterwards; a return
   * promises nothing.
   */
  relax(address: Address): void;
  /** `need_resched`: the scheduler wants this processor. */
  needResched(): boolean;
  /** `cond_resched`: gives the processor away if it is wanted. Sleeps, so never in atomic context. */
  condResched(): void;
  /** `preempt_disable`; nests. */
  preemptDisable(): void;
  preemptEnable(): void;

  // ---- Locks (reader/writer locks are fair, first come first served; the others need not be) ------------

  /** `read_lock`: shared. A writer that waits holds back readers that come after it. Not recursive. */
  readLock(lock: RwLock): void;
  readUnlock(lock: RwLock): void;
  /** `write_lock`: exclusive. */
  writeLock(lock: RwLock): void;
  writeUnlock(lock: RwLock): void;
  /** `rwlock_needbreak`: somebody waits for the lock that this processor holds. May be stale at once. */
  rwlockNeedbreak(lock: RwLock): boolean;
  spinLock(lock: SpinLock): void;
  /** `spin_trylock`: false if the lock is taken. */
  spinTrylock(lock: SpinLock): boolean;
  spinUnlock(lock: SpinLock): void;
  /** `mutex_lock`: sleeps, so never in atomic context. */
  mutexLock(lock: Mutex): void;
  mutexUnlock(lock: Mutex): void;

  // ---- RCU -------------------------------------------------------------------------------------------

  rcuReadLock(): void;
  rcuReadUnlock(): void;
  /**
   * `call_rcu`: runs `callback.run(cpu, head)` on this processor once every RCU read section that existed at
   * the call has ended. `head` addresses the `rcu_head` (`RCU_HEAD_BYTES`) inside the object to be freed;
   * nothing else may use those bytes until the callback runs.
   */
  callRcu(head: Address, callback: RcuCallback): void;
  /** `synchronize_rcu`: waits for one grace period. Sleeps. */
  synchronizeRcu(): void;
  /** `rcu_barrier`: waits until every callback this processor queued has run. Sleeps. */
  rcuBarrier(): void;
  /** `srcu_read_lock`: returns the index to hand to `srcuReadUnlock`. The reader may sleep. */
  srcuReadLock(srcu: Srcu): number;
  srcuReadUnlock(srcu: Srcu, index: number): void;
  /** `synchronize_srcu`: waits for the readers that were inside when it was called. Sleeps. */
  synchronizeSrcu(srcu: Srcu): void;

  // ---- Remote translations -----------------------------------------------------------------------------

  /**
   * `kvm_flush_remote_tlbs`: when it returns, no processor of the domain uses a translation cached before the
   * call, except one that will flush before it next uses any. `range` narrows the request where the
   * hardware can; null means everything.
   */
  flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void;

  // ---- Observation ---------------------------------------------------------------------------------------

  /** Lock assertions and annotations; the null form does nothing. */
  readonly lockdep: LockdepHooks;
  /** True if `trace` goes anywhere: build no event otherwise. Constant for the life of the `Cpu`. */
  readonly tracing: boolean;
  /** Emits one trace event. Recorded like an access, so a replayed operation does not emit it twice. */
  trace(event: TraceEvent): void;
}

/** How `clearBitsWhere` writes: one compare-exchange that is not retried, or an unconditional atomic AND. */
export type ClearMethod = "cmpxchg" | "fetch-and";
