import type { Address } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import type { LockdepHooks } from "../../cpu/lockdep-hooks.js";
import type { TraceEvent } from "../../cpu/trace-event.js";
import type { FlushDomain, FlushRange } from "../../flush/flush-domain.js";
import type { AnyLock, Mutex, RwLock, SpinLock, Srcu } from "../../locks/lock.js";
import type { RcuCallback } from "../../rcu/rcu-callback.js";
import { type AccessKind, AccessObservingCpu, type WordBytes } from "../access-observing-cpu.js";
import type { CpuLayer } from "../cpu-layer.js";
import type { LockMode } from "./lock-statistics.js";
import { StatisticsHooks } from "./statistics-hooks.js";
import type { StatisticsRecorder } from "./statistics-recorder.js";

const RCU = "rcu_read_lock";

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
    this.timed(lock, "read", () => this.inner.readLock(lock));
  }

  override readUnlock(lock: RwLock): void {
    this.released(lock, () => this.inner.readUnlock(lock));
  }

  override writeLock(lock: RwLock): void {
    this.timed(lock, "write", () => this.inner.writeLock(lock));
  }

  override writeUnlock(lock: RwLock): void {
    this.released(lock, () => this.inner.writeUnlock(lock));
  }

  override spinLock(lock: SpinLock): void {
    this.timed(lock, "write", () => this.inner.spinLock(lock));
  }

  override spinTrylock(lock: SpinLock): boolean {
    const taken = this.inner.spinTrylock(lock);
    if (taken) this.recorder.acquired(lock.lockClass.name, lock.address, "try", null);
    return taken;
  }

  override spinUnlock(lock: SpinLock): void {
    this.released(lock, () => this.inner.spinUnlock(lock));
  }

  override mutexLock(lock: Mutex): void {
    this.timed(lock, "write", () => this.inner.mutexLock(lock));
  }

  override mutexUnlock(lock: Mutex): void {
    this.released(lock, () => this.inner.mutexUnlock(lock));
  }

  override rcuReadLock(): void {
    const asked = this.recorder.nowNs();
    this.inner.rcuReadLock();
    this.recorder.acquired(RCU, 0, "read", asked);
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
    this.graced(RCU, () => this.inner.synchronizeRcu());
  }

  override rcuBarrier(): void {
    this.graced(RCU, () => this.inner.rcuBarrier());
  }

  override srcuReadLock(srcu: Srcu): number {
    const asked = this.recorder.nowNs();
    const index = this.inner.srcuReadLock(srcu);
    this.recorder.acquired(srcu.lockClass.name, srcu.address, "read", asked);
    return index;
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    this.released(srcu, () => this.inner.srcuReadUnlock(srcu, index));
  }

  override synchronizeSrcu(srcu: Srcu): void {
    this.graced(srcu.lockClass.name, () => this.inner.synchronizeSrcu(srcu));
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.recorder.countEvent("flushRemoteTlbs");
    this.inner.flushRemoteTlbs(domain, range);
  }

  override trace(event: TraceEvent): void {
    this.recorder.countEvent("trace");
    this.inner.trace(event);
  }

  private timed(lock: AnyLock, mode: LockMode, take: () => void): void {
    const asked = this.recorder.nowNs();
    take();
    this.recorder.acquired(lock.lockClass.name, lock.address, mode, asked);
  }

  /** The hold ends when the release begins: what the release itself does is not part of it. */
  private released(lock: AnyLock, release: () => void): void {
    const releasedNs = this.recorder.nowNs();
    release();
    this.recorder.released(lock.lockClass.name, lock.address, releasedNs);
  }

  private graced(lockClass: string, wait: () => void): void {
    const asked = this.recorder.nowNs();
    wait();
    this.recorder.synchronized(lockClass, asked);
  }
}

/** Statistics of one processor into `recorder`. */
export function withStatistics(recorder: StatisticsRecorder): CpuLayer {
  return (cpu) => new StatisticsCpu(cpu, recorder);
}
