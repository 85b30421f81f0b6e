import type { Cpu } from "../../cpu/cpu.js";
import type { RwLock } from "../../locks/lock.js";
import type { CpuLayer } from "../cpu-layer.js";
import { ForwardingCpu } from "../forwarding-cpu.js";
import type { LockMode } from "./lock-statistics.js";
import type { StatisticsRecorder } from "./statistics-recorder.js";

/** A `Cpu` that times reader/writer locks and nothing else. */
class RwlockTimingCpu extends ForwardingCpu {
  constructor(
    inner: Cpu,
    private readonly recorder: StatisticsRecorder,
  ) {
    super(inner);
  }

  override readLock(lock: RwLock): void {
    const askedNs = this.recorder.nowNs();
    this.inner.readLock(lock);
    this.acquired(lock, "read", askedNs);
  }

  override readUnlock(lock: RwLock): void {
    this.inner.readUnlock(lock);
    this.recorder.released(lock.lockClass.name, lock.address, this.recorder.nowNs());
  }

  override writeLock(lock: RwLock): void {
    const askedNs = this.recorder.nowNs();
    this.inner.writeLock(lock);
    this.acquired(lock, "write", askedNs);
  }

  override writeUnlock(lock: RwLock): void {
    this.inner.writeUnlock(lock);
    this.recorder.released(lock.lockClass.name, lock.address, this.recorder.nowNs());
  }

  private acquired(lock: RwLock, mode: LockMode, askedNs: number): void {
    this.recorder.acquired(lock.lockClass.name, lock.address, mode, askedNs);
  }
}

/**
 * The part of `withStatistics` that a timed run can bear: two clock readings for each acquisition of a reader/writer lock,
 * nothing for any other access. The clock is read after a release, so the reading itself is not in the time that
 * others wait.
 */
export function withRwlockTiming(recorder: StatisticsRecorder): CpuLayer {
  return (cpu) => new RwlockTimingCpu(cpu, recorder);
}
