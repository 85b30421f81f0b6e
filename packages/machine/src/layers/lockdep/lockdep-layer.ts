import type { Address } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import type { Mutex, RwLock, SpinLock, Srcu } from "../../locks/lock.js";
import type { RcuCallback } from "../../rcu/rcu-callback.js";
import { ForwardingCpu } from "../forwarding-cpu.js";
import { type LockUse, lockUse, rcuCallbackUse, rcuUse } from "./held-lock.js";
import type { LockGraph } from "./lock-graph.js";
import { LockValidator } from "./lock-validator.js";

/**
 * A `Cpu` whose locks, read sections and sleeps are checked by a `LockValidator`. A rule is checked before the
 * inner access, so a deadlock is reported instead of happening; what is held changes after it.
 */
export class LockdepCpu extends ForwardingCpu {
  override readonly lockdep: LockValidator;

  constructor(inner: Cpu, graph: LockGraph) {
    super(inner);
    this.lockdep = new LockValidator(inner.id, graph);
  }

  override readLock(lock: RwLock): void {
    if (lock.lockClass.sleeps) this.lockdep.mightSleep();
    this.acquire(lockUse(lock, "read"), () => this.inner.readLock(lock));
  }

  override readUnlock(lock: RwLock): void {
    this.release(lockUse(lock, "read"), () => this.inner.readUnlock(lock));
  }

  override writeLock(lock: RwLock): void {
    if (lock.lockClass.sleeps) this.lockdep.mightSleep();
    this.acquire(lockUse(lock, "write"), () => this.inner.writeLock(lock));
  }

  override writeUnlock(lock: RwLock): void {
    this.release(lockUse(lock, "write"), () => this.inner.writeUnlock(lock));
  }

  override spinLock(lock: SpinLock): void {
    this.acquire(lockUse(lock, "write"), () => this.inner.spinLock(lock));
  }

  /** Never waits, so it is in order after anything; what is taken while it is held comes after it. */
  override spinTrylock(lock: SpinLock): boolean {
    const taken = this.inner.spinTrylock(lock);
    if (taken) this.lockdep.afterAcquire(lockUse(lock, "write"));
    return taken;
  }

  override spinUnlock(lock: SpinLock): void {
    this.release(lockUse(lock, "write"), () => this.inner.spinUnlock(lock));
  }

  override mutexLock(lock: Mutex): void {
    this.lockdep.mightSleep();
    this.acquire(lockUse(lock, "write"), () => this.inner.mutexLock(lock));
  }

  override mutexUnlock(lock: Mutex): void {
    this.release(lockUse(lock, "write"), () => this.inner.mutexUnlock(lock));
  }

  override condResched(): void {
    this.lockdep.mightSleep();
    this.inner.condResched();
  }

  override preemptDisable(): void {
    this.inner.preemptDisable();
    this.lockdep.preemptDisabled();
  }

  override preemptEnable(): void {
    this.lockdep.beforePreemptEnable();
    this.inner.preemptEnable();
    this.lockdep.preemptEnabled();
  }

  override rcuReadLock(): void {
    this.acquire(rcuUse, () => this.inner.rcuReadLock());
  }

  override rcuReadUnlock(): void {
    this.release(rcuUse, () => this.inner.rcuReadUnlock());
  }

  override synchronizeRcu(): void {
    this.lockdep.beforeGracePeriod({ ...rcuUse, mode: "write" });
    this.inner.synchronizeRcu();
  }

  override rcuBarrier(): void {
    this.lockdep.beforeGracePeriod({ ...rcuUse, mode: "write" });
    this.inner.rcuBarrier();
  }

  override srcuReadLock(srcu: Srcu): number {
    const index = this.inner.srcuReadLock(srcu);
    this.lockdep.afterAcquire(lockUse(srcu, "read"));
    return index;
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    this.release(lockUse(srcu, "read"), () => this.inner.srcuReadUnlock(srcu, index));
  }

  override synchronizeSrcu(srcu: Srcu): void {
    this.lockdep.beforeGracePeriod(lockUse(srcu, "write"));
    this.inner.synchronizeSrcu(srcu);
  }

  /** A callback may not sleep, wherever it runs, and leaves nothing held. */
  protected override runCallback(callback: RcuCallback, head: Address): void {
    this.lockdep.afterAcquire(rcuCallbackUse);
    const count = this.lockdep.heldCount;
    super.runCallback(callback, head);
    this.lockdep.assertHeldCount(count);
    this.lockdep.afterRelease(this.lockdep.beforeRelease(rcuCallbackUse));
  }

  private acquire(use: LockUse, take: () => void): void {
    this.lockdep.beforeAcquire(use);
    take();
    this.lockdep.afterAcquire(use);
  }

  private release(use: LockUse, give: () => void): void {
    const held = this.lockdep.beforeRelease(use);
    give();
    this.lockdep.afterRelease(held);
  }
}

/**
 * The lock validator. Processors of one realm share `graph`; the result's `lockdep.assertNothingHeld()` is for the
 * end of each operation.
 */
export function withLockdep(graph: LockGraph): (cpu: Cpu) => LockdepCpu {
  return (cpu) => new LockdepCpu(cpu, graph);
}
