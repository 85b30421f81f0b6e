import type { Arena } from "../arena/arena.js";
import { cpuAttachedWord } from "../arena/layout.js";
import type { Address } from "../cpu/address.js";
import type { ClearMethod, Cpu, MemoryOrder } from "../cpu/cpu.js";
import { type LockdepHooks, noLockdepHooks } from "../cpu/lockdep-hooks.js";
import type { FlushDomain, FlushRange } from "../flush/flush-domain.js";
import { flushRemoteTlbs } from "../flush/flush-remote-tlbs.js";
import { GracePeriodDeadlockError } from "../locks/errors.js";
import type { Mutex, RwLock, SpinLock, Srcu } from "../locks/lock.js";
import type { RcuCallback } from "../rcu/rcu-callback.js";
import type { Atomics64 } from "../wasm/atomics.js";
import {
  threadReadLock,
  threadReadUnlock,
  threadRwlockIsContended,
  threadWriteLock,
  threadWriteUnlock,
} from "./rwlock.js";
import { threadLock, threadTryLock, threadUnlock } from "./simple-lock.js";
import { ThreadRcu } from "./thread-rcu.js";
import { threadSrcuReadLock, threadSrcuReadUnlock, threadSynchronizeSrcu } from "./thread-srcu.js";
import { Waiter } from "./waiter.js";

/** What a `ThreadCpu` needs of its machine. */
export interface ThreadCpuInit {
  readonly arena: Arena;
  readonly id: number;
  readonly maxCpus: number;
  readonly mayBlock: boolean;
}

/**
 * The `Cpu` of a real thread: plain loads and stores are machine loads and stores, read-modify-writes are locked
 * instructions (full barriers on x86, whatever their order says), locks are futexes.
 */
export class ThreadCpu implements Cpu {
  readonly id: number;
  readonly lockdep: LockdepHooks = noLockdepHooks;
  readonly tracing = false;
  private readonly arena: Arena;
  private readonly u64: BigUint64Array;
  private readonly u32: Uint32Array;
  private readonly atomics64: Atomics64;
  private readonly waiter: Waiter;
  private readonly rcu: ThreadRcu;
  private readonly maxCpus: number;

  constructor(init: ThreadCpuInit) {
    this.id = init.id;
    this.arena = init.arena;
    this.u64 = init.arena.u64;
    this.u32 = init.arena.u32;
    this.atomics64 = init.arena.atomics64;
    this.maxCpus = init.maxCpus;
    this.waiter = new Waiter(init.arena, init.mayBlock);
    this.rcu = new ThreadRcu(init.arena, this.waiter, init.maxCpus, init.id);
  }

  readOnce(address: Address): bigint {
    return this.u64[address >>> 3]!;
  }

  writeOnce(address: Address, value: bigint): void {
    this.u64[address >>> 3] = value;
  }

  loadAcquire(address: Address): bigint {
    return BigInt.asUintN(64, this.atomics64.load(address));
  }

  storeRelease(address: Address, value: bigint): void {
    this.atomics64.store(address, value);
  }

  cmpxchg(address: Address, expected: bigint, replacement: bigint, _order: MemoryOrder): bigint {
    return BigInt.asUintN(64, this.atomics64.cmpxchg(address, expected, replacement));
  }

  xchg(address: Address, value: bigint, _order: MemoryOrder): bigint {
    return BigInt.asUintN(64, this.atomics64.xchg(address, value));
  }

  fetchAnd(address: Address, mask: bigint, _order: MemoryOrder): bigint {
    return BigInt.asUintN(64, this.atomics64.fetchAnd(address, mask));
  }

  fetchOr(address: Address, mask: bigint, _order: MemoryOrder): bigint {
    return BigInt.asUintN(64, this.atomics64.fetchOr(address, mask));
  }

  fetchAdd(address: Address, addend: bigint, _order: MemoryOrder): bigint {
    return BigInt.asUintN(64, this.atomics64.fetchAdd(address, addend));
  }

  clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    return method === "cmpxchg"
      ? this.atomics64.clearBitsWhereCmpxchg(address, count, mask, value, clear)
      : this.atomics64.clearBitsWhereAnd(address, count, mask, value, clear);
  }

  memset64(address: Address, value: bigint, count: number): void {
    const first = address >>> 3;
    this.u64.fill(value, first, first + count);
  }

  readOnce32(address: Address): number {
    return this.u32[address >>> 2]!;
  }

  writeOnce32(address: Address, value: number): void {
    this.u32[address >>> 2] = value;
  }

  loadAcquire32(address: Address): number {
    return Atomics.load(this.u32, address >>> 2);
  }

  storeRelease32(address: Address, value: number): void {
    Atomics.store(this.u32, address >>> 2, value);
  }

  cmpxchg32(address: Address, expected: number, replacement: number, _order: MemoryOrder): number {
    return Atomics.compareExchange(this.u32, address >>> 2, expected, replacement);
  }

  xchg32(address: Address, value: number, _order: MemoryOrder): number {
    return Atomics.exchange(this.u32, address >>> 2, value);
  }

  fetchAnd32(address: Address, mask: number, _order: MemoryOrder): number {
    return Atomics.and(this.u32, address >>> 2, mask);
  }

  fetchOr32(address: Address, mask: number, _order: MemoryOrder): number {
    return Atomics.or(this.u32, address >>> 2, mask);
  }

  fetchAdd32(address: Address, addend: number, _order: MemoryOrder): number {
    return Atomics.add(this.u32, address >>> 2, addend);
  }

  smpMb(): void {
    this.atomics64.fence();
  }

  // Loads are not reordered with loads on x86, nor stores with stores; the fence keeps the compiler from it.
  smpRmb(): void {
    this.atomics64.fence();
  }

  smpWmb(): void {
    this.atomics64.fence();
  }

  relax(_address: Address): void {
    this.waiter.relax();
  }

  /** False: the operating system preempts threads by itself. */
  needResched(): boolean {
    return false;
  }

  condResched(): void {}
  preemptDisable(): void {}
  preemptEnable(): void {}

  readLock(lock: RwLock): void {
    threadReadLock(this.arena, this.waiter, lock);
  }

  readUnlock(lock: RwLock): void {
    threadReadUnlock(this.arena, this.waiter, lock);
  }

  writeLock(lock: RwLock): void {
    threadWriteLock(this.arena, this.waiter, lock);
  }

  writeUnlock(lock: RwLock): void {
    threadWriteUnlock(this.arena, this.waiter, lock);
  }

  rwlockNeedbreak(lock: RwLock): boolean {
    return threadRwlockIsContended(this.arena, lock);
  }

  spinLock(lock: SpinLock): void {
    threadLock(this.arena, this.waiter, lock);
  }

  spinTrylock(lock: SpinLock): boolean {
    return threadTryLock(this.arena, lock);
  }

  spinUnlock(lock: SpinLock): void {
    threadUnlock(this.arena, this.waiter, lock);
  }

  mutexLock(lock: Mutex): void {
    threadLock(this.arena, this.waiter, lock);
  }

  mutexUnlock(lock: Mutex): void {
    threadUnlock(this.arena, this.waiter, lock);
  }

  rcuReadLock(): void {
    this.rcu.readLock();
  }

  rcuReadUnlock(): void {
    this.rcu.readUnlock(this);
  }

  callRcu(head: Address, callback: RcuCallback): void {
    this.rcu.call(head, callback);
  }

  synchronizeRcu(): void {
    this.rcu.synchronize();
  }

  rcuBarrier(): void {
    this.rcu.barrier(this);
  }

  srcuReadLock(srcu: Srcu): number {
    return threadSrcuReadLock(this.arena, srcu, this.id);
  }

  srcuReadUnlock(srcu: Srcu, index: number): void {
    threadSrcuReadUnlock(this.arena, srcu, this.id, index);
  }

  synchronizeSrcu(srcu: Srcu): void {
    threadSynchronizeSrcu(this.arena, this.waiter, srcu, this.maxCpus);
  }

  flushRemoteTlbs(domain: FlushDomain, _range: FlushRange | null): void {
    // Bare metal x86 has no remote range flush: every request is for everything.
    flushRemoteTlbs(this, domain);
  }

  trace(): void {}

  /**
   * Gives the processor number back after running the callbacks this thread still has queued.
   *
   * @throws GracePeriodDeadlockError from inside a read section.
   */
  detach(): void {
    if (this.rcu.inReadSection) throw new GracePeriodDeadlockError("detach");
    this.rcu.barrier(this);
    Atomics.store(this.u32, cpuAttachedWord(this.id) >>> 2, 0);
  }
}
