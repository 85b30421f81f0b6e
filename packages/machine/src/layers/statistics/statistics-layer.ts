import type { Address } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import type { LockdepHooks } from "../../cpu/lockdep-hooks.js";
import type { TraceEvent } from "../../cpu/trace-event.js";
import type { FlushDomain, FlushRange } from "../../flush/flush-domain.js";
import type { AnyLock, Mutex, RwLock, SpinLock, Srcu } from "../../locks/lock.js";
import type { RcuCallback } from "../../rcu/rcu-callback.js";
import { type AccessKind, AccessObservingCpu, type WordBytes } from "../access-observing-cpu.js";
import type { CpuLayer } from "../cpu-layer.js";
import { RCU_CLASS } from "../lockdep/held-lock.js";
import type { LockMode } from "./lock-statistics.js";
import { StatisticsHooks } from "./statistics-hooks.js";
import type { StatisticsRecorder } from "./statistics-recorder.js";

const RCU = RCU_CLASS.name;

/** A `Cpu` that counts accesses and times locks, read sections and grace periods. */
class StatisticsCpu extends AccessObservingCpu {
  override readonly lockdep: LockdepHooks;

  constructor(
    inner: Cpu,
    private readonly recorder: StatisticsRecorder,
  ) {
    super(inner);
    this.lockdep = new StatisticsHooks(inner.lockdep, recorder);
  }

  protected override beforeAccess(
    kind: AccessKind,
    _address: Address,
    _word: WordBytes,
    count: number,
  ): void {
    this.recorder.countAccess(kind, count);
  }

  override relax(address: Address): void {
    this.recorder.countEvent("relax");
    this.inner.relax(address);
  }

  override readLock(lock: RwLock): void {
    const askedNs = this.recorder.nowNs();
    this.inner.readLock(lock);
    this.acquired(lock, "read", askedNs);
  }

  override readUnlock(lock: RwLock): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.readUnlock(lock);
    this.released(lock, releasedNs);
  }

  override writeLock(lock: RwLock): void {
    const askedNs = this.recorder.nowNs();
    this.inner.writeLock(lock);
    this.acquired(lock, "write", askedNs);
  }

  override writeUnlock(lock: RwLock): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.writeUnlock(lock);
    this.released(lock, releasedNs);
  }

  override spinLock(lock: SpinLock): void {
    const askedNs = this.recorder.nowNs();
    this.inner.spinLock(lock);
    this.acquired(lock, "write", askedNs);
  }

  override spinTrylock(lock: SpinLock): boolean {
    const taken = this.inner.spinTrylock(lock);
    if (taken) this.recorder.acquired(lock.lockClass.name, lock.address, "try", null);
    return taken;
  }

  override spinUnlock(lock: SpinLock): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.spinUnlock(lock);
    this.released(lock, releasedNs);
  }

  override mutexLock(lock: Mutex): void {
    const askedNs = this.recorder.nowNs();
    this.inner.mutexLock(lock);
    this.acquired(lock, "write", askedNs);
  }

  override mutexUnlock(lock: Mutex): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.mutexUnlock(lock);
    this.released(lock, releasedNs);
  }

  override rcuReadLock(): void {
    const askedNs = this.recorder.nowNs();
    this.inner.rcuReadLock();
    this.recorder.acquired(RCU, 0, "read", askedNs);
  }

  override rcuReadUnlock(): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.rcuReadUnlock();
    this.recorder.released(RCU, 0, releasedNs);
  }

  override callRcu(head: Address, callback: RcuCallback): void {
    this.recorder.countEvent("callRcu");
    super.callRcu(head, callback);
  }

  override synchronizeRcu(): void {
    const askedNs = this.recorder.nowNs();
    this.inner.synchronizeRcu();
    this.recorder.synchronized(RCU, askedNs);
  }

  override rcuBarrier(): void {
    const askedNs = this.recorder.nowNs();
    this.inner.rcuBarrier();
    this.recorder.synchronized(RCU, askedNs);
  }

  override srcuReadLock(srcu: Srcu): number {
    const askedNs = this.recorder.nowNs();
    const index = this.inner.srcuReadLock(srcu);
    this.acquired(srcu, "read", askedNs);
    return index;
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.srcuReadUnlock(srcu, index);
    this.released(srcu, releasedNs);
  }

  override synchronizeSrcu(srcu: Srcu): void {
    const askedNs = this.recorder.nowNs();
    this.inner.synchronizeSrcu(srcu);
    this.recorder.synchronized(srcu.lockClass.name, askedNs);
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.recorder.countEvent("flushRemoteTlbs");
    this.inner.flushRemoteTlbs(domain, range);
  }

  override trace(event: TraceEvent): void {
    this.recorder.countEvent("trace");
    this.inner.trace(event);
  }

  private acquired(lock: AnyLock, mode: LockMode, askedNs: number): void {
    this.recorder.acquired(lock.lockClass.name, lock.address, mode, askedNs);
  }

  /** A hold ends when its release begins: what the release itself does is not part of it. */
  private released(lock: AnyLock, releasedNs: number): void {
    this.recorder.released(lock.lockClass.name, lock.address, releasedNs);
  }
}

/** Statistics of one processor into `recorder`. */
export function withStatistics(recorder: StatisticsRecorder): CpuLayer {
  return (cpu) => new StatisticsCpu(cpu, recorder);
}
