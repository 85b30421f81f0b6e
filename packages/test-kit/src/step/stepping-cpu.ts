import {
  type Address,
  type AnyLock,
  type ClearMethod,
  clearBitsWhereOneByOne,
  type FlushDomain,
  type FlushRange,
  ForwardingCpu,
  type MemoryOrder,
  type Mutex,
  type RcuCallback,
  type RwLock,
  type SpinLock,
  type Srcu,
  type TraceEvent,
} from "@kvm-age/machine";
import type { Operand, Step, StepKind } from "./step.js";

/**
 * A `Cpu` around another in which everything it is asked for comes by one place, `step`: the base of the processors of this
 * package, and of those that a test makes for itself.
 *
 * Runs of words (`clearBitsWhere`) are taken apart into their accesses. Everything else is one step, a remote flush as well:
 * what the inner processor does for it by itself is not seen.
 */
export abstract class SteppingCpu extends ForwardingCpu {
  /**
   * Takes one step.
   *
   * @param perform does it on the inner processor and returns what the step is to return
   */
  protected abstract step<Result>(step: Step, perform: () => Result): Result;

  private access<Result>(
    kind: StepKind,
    address: Address,
    operands: readonly Operand[],
    perform: () => Result,
  ): Result {
    return this.step({ kind, address, operands }, perform);
  }

  private lock<Result>(kind: StepKind, lock: AnyLock, perform: () => Result): Result {
    return this.step({ kind, address: lock.address, operands: [lock.lockClass.name] }, perform);
  }

  private plain<Result>(kind: StepKind, perform: () => Result): Result {
    return this.step({ kind, address: null, operands: [] }, perform);
  }

  override readOnce(at: Address): bigint {
    return this.access("readOnce", at, [], () => this.inner.readOnce(at));
  }

  override writeOnce(at: Address, value: bigint): void {
    this.access("writeOnce", at, [value], () => this.inner.writeOnce(at, value));
  }

  override loadAcquire(at: Address): bigint {
    return this.access("loadAcquire", at, [], () => this.inner.loadAcquire(at));
  }

  override storeRelease(at: Address, value: bigint): void {
    this.access("storeRelease", at, [value], () => this.inner.storeRelease(at, value));
  }

  override cmpxchg(at: Address, expected: bigint, replacement: bigint, order: MemoryOrder): bigint {
    return this.access("cmpxchg", at, [expected, replacement, order], () =>
      this.inner.cmpxchg(at, expected, replacement, order),
    );
  }

  override xchg(at: Address, value: bigint, order: MemoryOrder): bigint {
    return this.access("xchg", at, [value, order], () => this.inner.xchg(at, value, order));
  }

  override fetchAnd(at: Address, mask: bigint, order: MemoryOrder): bigint {
    return this.access("fetchAnd", at, [mask, order], () => this.inner.fetchAnd(at, mask, order));
  }

  override fetchOr(at: Address, mask: bigint, order: MemoryOrder): bigint {
    return this.access("fetchOr", at, [mask, order], () => this.inner.fetchOr(at, mask, order));
  }

  override fetchAdd(at: Address, addend: bigint, order: MemoryOrder): bigint {
    return this.access("fetchAdd", at, [addend, order], () => this.inner.fetchAdd(at, addend, order));
  }

  /** Its single accesses, each a step. */
  override clearBitsWhere(
    address: Address,
    count: number,
    mask: bigint,
    value: bigint,
    clear: bigint,
    method: ClearMethod,
  ): number {
    return clearBitsWhereOneByOne(this, address, count, mask, value, clear, method);
  }

  override memset64(at: Address, value: bigint, count: number): void {
    this.access("memset64", at, [value, count], () => this.inner.memset64(at, value, count));
  }

  override readOnce32(at: Address): number {
    return this.access("readOnce32", at, [], () => this.inner.readOnce32(at));
  }

  override writeOnce32(at: Address, value: number): void {
    this.access("writeOnce32", at, [value], () => this.inner.writeOnce32(at, value));
  }

  override loadAcquire32(at: Address): number {
    return this.access("loadAcquire32", at, [], () => this.inner.loadAcquire32(at));
  }

  override storeRelease32(at: Address, value: number): void {
    this.access("storeRelease32", at, [value], () => this.inner.storeRelease32(at, value));
  }

  override cmpxchg32(at: Address, expected: number, replacement: number, order: MemoryOrder): number {
    return this.access("cmpxchg32", at, [expected, replacement, order], () =>
      this.inner.cmpxchg32(at, expected, replacement, order),
    );
  }

  override xchg32(at: Address, value: number, order: MemoryOrder): number {
    return this.access("xchg32", at, [value, order], () => this.inner.xchg32(at, value, order));
  }

  override fetchAnd32(at: Address, mask: number, order: MemoryOrder): number {
    return this.access("fetchAnd32", at, [mask, order], () => this.inner.fetchAnd32(at, mask, order));
  }

  override fetchOr32(at: Address, mask: number, order: MemoryOrder): number {
    return this.access("fetchOr32", at, [mask, order], () => this.inner.fetchOr32(at, mask, order));
  }

  override fetchAdd32(at: Address, addend: number, order: MemoryOrder): number {
    return this.access("fetchAdd32", at, [addend, order], () => this.inner.fetchAdd32(at, addend, order));
  }

  override smpMb(): void {
    this.plain("smpMb", () => this.inner.smpMb());
  }

  override smpRmb(): void {
    this.plain("smpRmb", () => this.inner.smpRmb());
  }

  override smpWmb(): void {
    this.plain("smpWmb", () => this.inner.smpWmb());
  }

  override relax(at: Address): void {
    this.access("relax", at, [], () => this.inner.relax(at));
  }

  override needResched(): boolean {
    return this.plain("needResched", () => this.inner.needResched());
  }

  override condResched(): void {
    this.plain("condResched", () => this.inner.condResched());
  }

  override preemptDisable(): void {
    this.plain("preemptDisable", () => this.inner.preemptDisable());
  }

  override preemptEnable(): void {
    this.plain("preemptEnable", () => this.inner.preemptEnable());
  }

  override readLock(lock: RwLock): void {
    this.lock("readLock", lock, () => this.inner.readLock(lock));
  }

  override readUnlock(lock: RwLock): void {
    this.lock("readUnlock", lock, () => this.inner.readUnlock(lock));
  }

  override writeLock(lock: RwLock): void {
    this.lock("writeLock", lock, () => this.inner.writeLock(lock));
  }

  override writeUnlock(lock: RwLock): void {
    this.lock("writeUnlock", lock, () => this.inner.writeUnlock(lock));
  }

  override rwlockNeedbreak(lock: RwLock): boolean {
    return this.lock("rwlockNeedbreak", lock, () => this.inner.rwlockNeedbreak(lock));
  }

  override spinLock(lock: SpinLock): void {
    this.lock("spinLock", lock, () => this.inner.spinLock(lock));
  }

  override spinTrylock(lock: SpinLock): boolean {
    return this.lock("spinTrylock", lock, () => this.inner.spinTrylock(lock));
  }

  override spinUnlock(lock: SpinLock): void {
    this.lock("spinUnlock", lock, () => this.inner.spinUnlock(lock));
  }

  override mutexLock(lock: Mutex): void {
    this.lock("mutexLock", lock, () => this.inner.mutexLock(lock));
  }

  override mutexUnlock(lock: Mutex): void {
    this.lock("mutexUnlock", lock, () => this.inner.mutexUnlock(lock));
  }

  override rcuReadLock(): void {
    this.plain("rcuReadLock", () => this.inner.rcuReadLock());
  }

  override rcuReadUnlock(): void {
    this.plain("rcuReadUnlock", () => this.inner.rcuReadUnlock());
  }

  override callRcu(head: Address, callback: RcuCallback): void {
    this.access("callRcu", head, [callback.id], () => super.callRcu(head, callback));
  }

  override synchronizeRcu(): void {
    this.plain("synchronizeRcu", () => this.inner.synchronizeRcu());
  }

  override rcuBarrier(): void {
    this.plain("rcuBarrier", () => this.inner.rcuBarrier());
  }

  override srcuReadLock(srcu: Srcu): number {
    return this.lock("srcuReadLock", srcu, () => this.inner.srcuReadLock(srcu));
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    const operands = [srcu.lockClass.name, index];
    this.access("srcuReadUnlock", srcu.address, operands, () => this.inner.srcuReadUnlock(srcu, index));
  }

  override synchronizeSrcu(srcu: Srcu): void {
    this.lock("synchronizeSrcu", srcu, () => this.inner.synchronizeSrcu(srcu));
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    const operands = range === null ? [] : [range.startGfn, range.pages];
    const perform = (): void => this.inner.flushRemoteTlbs(domain, range);
    this.access("flushRemoteTlbs", domain.address, operands, perform);
  }

  /** Goes on to the inner processor only if that one traces. */
  override trace(event: TraceEvent): void {
    const operands = [event.name, ...Object.values(event.fields)];
    this.step({ kind: "trace", address: null, operands }, () => {
      if (this.inner.tracing) this.inner.trace(event);
    });
  }
}
