import { type Cpu, type CpuLayer, ForwardingCpu, type RwLock, type SpinLock } from "@kvm-age/machine";

/** How deep a processor is in sections that forbid preemption. */
export class PreemptDepth {
  value = 0;
}

/** A `Cpu` that counts what raises the kernel's preemption count. */
class PreemptDepthCpu extends ForwardingCpu {
  constructor(
    inner: Cpu,
    private readonly depth: PreemptDepth,
  ) {
    super(inner);
  }

  override readLock(lock: RwLock): void {
    this.inner.readLock(lock);
    if (!lock.lockClass.sleeps) this.depth.value++;
  }

  override readUnlock(lock: RwLock): void {
    this.inner.readUnlock(lock);
    if (!lock.lockClass.sleeps) this.depth.value--;
  }

  override writeLock(lock: RwLock): void {
    this.inner.writeLock(lock);
    if (!lock.lockClass.sleeps) this.depth.value++;
  }

  override writeUnlock(lock: RwLock): void {
    this.inner.writeUnlock(lock);
    if (!lock.lockClass.sleeps) this.depth.value--;
  }

  override spinLock(lock: SpinLock): void {
    this.inner.spinLock(lock);
    this.depth.value++;
  }

  override spinTrylock(lock: SpinLock): boolean {
    const taken = this.inner.spinTrylock(lock);
    if (taken) this.depth.value++;
    return taken;
  }

  override spinUnlock(lock: SpinLock): void {
    this.inner.spinUnlock(lock);
    this.depth.value--;
  }

  override preemptDisable(): void {
    this.inner.preemptDisable();
    this.depth.value++;
  }

  override preemptEnable(): void {
    this.inner.preemptEnable();
    this.depth.value--;
  }
}

/**
 * Keeps `depth` at the number of spinlocks and spinning reader/writer locks held plus the nesting of `preemptDisable`. Neither semaphores
 * and mutexes count, whose holders sleep, nor RCU read sections: the traces' kernels have preemptible RCU.
 */
export function withPreemptDepth(depth: PreemptDepth): CpuLayer {
  return (cpu) => new PreemptDepthCpu(cpu, depth);
}
