import type { Address } from "../cpu/address.js";
import type { ClearMethod, Cpu, MemoryOrder } from "../cpu/cpu.js";
import type { LockdepHooks } from "../cpu/lockdep-hooks.js";
import type { TraceEvent } from "../cpu/trace-event.js";
import type { FlushDomain, FlushRange } from "../flush/flush-domain.js";
import type { Mutex, RwLock, SpinLock, Srcu } from "../locks/lock.js";
import type { RcuCallback } from "../rcu/rcu-callback.js";

/**
 * A `Cpu` that hands everything to another: the base of every layer, which overrides what it cares about.
 *
 * A layer must stay right when the inner access throws instead of returning (a machine that suspends an
 * operation does), so it checks before the inner call and changes its own state after it.
 */
export abstract class ForwardingCpu implements Cpu {
  readonly id: number;
  readonly lockdep: LockdepHooks;
  readonly tracing: boolean;
  private readonly wrappedCallbacks = new WeakMap<RcuCallback, RcuCallback>();

  constructor(protected readonly inner: Cpu) {
    this.id = inner.id;
    this.lockdep = inner.lockdep;
    this.tracing = inner.tracing;
  }

  readOnce(address: Address): bigint {
    return this.inner.readOnce(address);
  }

  writeOnce(address: Address, value: bigint): void {
    this.inner.writeOnce(address, value);
  }

  loadAcquire(address: Address): bigint {
    return this.inner.loadAcquire(address);
  }

  storeRelease(address: Address, value: bigint): void {
    this.inner.storeRelease(address, value);
  }

  cmpxchg(address: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    return this.inner.cmpxchg(address, expected, replacement, order);
  }

  xchg(address: Address, value: bigint, order: MemoryOrder): bigint {
    return this.inner.xchg(address, value, order);
  }

  fetchAnd(address: Address, mask: bigint, order: MemoryOrder): bigint {
    return this.inner.fetchAnd(address, mask, order);
  }

  fetchOr(address: Address, mask: bigint, order: MemoryOrder): bigint {
    return this.inner.fetchOr(address, mask, order);
  }

  fetchAdd(address: Address, addend: bigint, order: MemoryOrder): bigint {
    return this.inner.fetchAdd(address, addend, order);
  }

  clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    return this.inner.clearBitsWhere(address, count, mask, value, clear, method);
  }

  memset64(address: Address, value: bigint, count: number): void {
    this.inner.memset64(address, value, count);
  }

  readOnce32(address: Address): number {
    return this.inner.readOnce32(address);
  }

  writeOnce32(address: Address, value: number): void {
    this.inner.writeOnce32(address, value);
  }

  loadAcquire32(address: Address): number {
    return this.inner.loadAcquire32(address);
  }

  storeRelease32(address: Address, value: number): void {
    this.inner.storeRelease32(address, value);
  }

  cmpxchg32(address: Address, expected: number, replacement: number, order: MemoryOrder): number {
    return this.inner.cmpxchg32(address, expected, replacement, order);
  }

  xchg32(address: Address, value: number, order: MemoryOrder): number {
    return this.inner.xchg32(address, value, order);
  }

  fetchAnd32(address: Address, mask: number, order: MemoryOrder): number {
    return this.inner.fetchAnd32(address, mask, order);
  }

  fetchOr32(address: Address, mask: number, order: MemoryOrder): number {
    return this.inner.fetchOr32(address, mask, order);
  }

  fetchAdd32(address: Address, addend: number, order: MemoryOrder): number {
    return this.inner.fetchAdd32(address, addend, order);
  }

  smpMb(): void {
    this.inner.smpMb();
  }

  smpRmb(): void {
    this.inner.smpRmb();
  }

  smpWmb(): void {
    this.inner.smpWmb();
  }

  relax(address: Address): void {
    this.inner.relax(address);
  }

  needResched(): boolean {
    return this.inner.needResched();
  }

  condResched(): void {
    this.inner.condResched();
  }

  preemptDisable(): void {
    this.inner.preemptDisable();
  }

  preemptEnable(): void {
    this.inner.preemptEnable();
  }

  readLock(lock: RwLock): void {
    this.inner.readLock(lock);
  }

  readUnlock(lock: RwLock): void {
    this.inner.readUnlock(lock);
  }

  writeLock(lock: RwLock): void {
    this.inner.writeLock(lock);
  }

  writeUnlock(lock: RwLock): void {
    this.inner.writeUnlock(lock);
  }

  rwlockNeedbreak(lock: RwLock): boolean {
    return this.inner.rwlockNeedbreak(lock);
  }

  spinLock(lock: SpinLock): void {
    this.inner.spinLock(lock);
  }

  spinTrylock(lock: SpinLock): boolean {
    return this.inner.spinTrylock(lock);
  }

  spinUnlock(lock: SpinLock): void {
    this.inner.spinUnlock(lock);
  }

  mutexLock(lock: Mutex): void {
    this.inner.mutexLock(lock);
  }

  mutexUnlock(lock: Mutex): void {
    this.inner.mutexUnlock(lock);
  }

  rcuReadLock(): void {
    this.inner.rcuReadLock();
  }

  rcuReadUnlock(): void {
    this.inner.rcuReadUnlock();
  }

  synchronizeRcu(): void {
    this.inner.synchronizeRcu();
  }

  rcuBarrier(): void {
    this.inner.rcuBarrier();
  }

  srcuReadLock(srcu: Srcu): number {
    return this.inner.srcuReadLock(srcu);
  }

  srcuReadUnlock(srcu: Srcu, index: number): void {
    this.inner.srcuReadUnlock(srcu, index);
  }

  synchronizeSrcu(srcu: Srcu): void {
    this.inner.synchronizeSrcu(srcu);
  }

  flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.inner.flushRemoteTlbs(domain, range);
  }

  trace(event: TraceEvent): void {
    this.inner.trace(event);
  }

  /** The callback runs on the outermost layer: what it does is checked and counted like everything else. */
  callRcu(head: Address, callback: RcuCallback): void {
    let wrapped = this.wrappedCallbacks.get(callback);
    if (wrapped === undefined) {
      wrapped = { id: callback.id, run: (_cpu, object) => this.runCallback(callback, object) };
      this.wrappedCallbacks.set(callback, wrapped);
    }
    this.inner.callRcu(head, wrapped);
  }

  /** Runs a callback whose grace period is over. */
  protected runCallback(callback: RcuCallback, head: Address): void {
    callback.run(this, head);
  }
}
