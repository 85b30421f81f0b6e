import type { FrameAllocator } from "../../alloc/frame-allocator.js";
import type { Address } from "../../cpu/address.js";
import type { Cpu } from "../../cpu/cpu.js";
import { type FlushDomain, type FlushRange, flushDomainBytes } from "../../flush/flush-domain.js";
import {
  type Mutex,
  RWLOCK_BYTES,
  type RwLock,
  SPINLOCK_BYTES,
  type SpinLock,
  type Srcu,
  srcuBytes,
} from "../../locks/lock.js";
import { RCU_HEAD_BYTES, type RcuCallback } from "../../rcu/rcu-callback.js";
import { type AccessKind, AccessObservingCpu, type WordBytes } from "../access-observing-cpu.js";
import type { CpuLayer } from "../cpu-layer.js";
import { ArenaChecker } from "./arena-checker.js";
import { type CheckedUse, MisalignedAccessError } from "./errors.js";

/**
 * A `Cpu` that checks every address against the allocators' own metadata before it is used. The metadata is read
 * through the inner `Cpu`. Another processor can free the memory between check and use: such a race may go
 * unnoticed, but what is reported is always a fault.
 */
class AddressSanitizingCpu extends AccessObservingCpu {
  private readonly checker: ArenaChecker;

  constructor(inner: Cpu, frames: FrameAllocator) {
    super(inner);
    this.checker = new ArenaChecker(inner, frames);
  }

  protected override beforeAccess(kind: AccessKind, address: Address, word: WordBytes, count: number): void {
    this.check(kind, address, word * count, word);
  }

  override relax(address: Address): void {
    this.check("relax", address, 4, 4);
    this.inner.relax(address);
  }

  override callRcu(head: Address, callback: RcuCallback): void {
    this.check("callRcu", head, RCU_HEAD_BYTES, 4);
    super.callRcu(head, callback);
  }

  override readLock(lock: RwLock): void {
    this.checkLock(lock.address, RWLOCK_BYTES);
    this.inner.readLock(lock);
  }

  override readUnlock(lock: RwLock): void {
    this.checkLock(lock.address, RWLOCK_BYTES);
    this.inner.readUnlock(lock);
  }

  override writeLock(lock: RwLock): void {
    this.checkLock(lock.address, RWLOCK_BYTES);
    this.inner.writeLock(lock);
  }

  override writeUnlock(lock: RwLock): void {
    this.checkLock(lock.address, RWLOCK_BYTES);
    this.inner.writeUnlock(lock);
  }

  override spinLock(lock: SpinLock): void {
    this.checkLock(lock.address, SPINLOCK_BYTES);
    this.inner.spinLock(lock);
  }

  override spinTrylock(lock: SpinLock): boolean {
    this.checkLock(lock.address, SPINLOCK_BYTES);
    return this.inner.spinTrylock(lock);
  }

  override spinUnlock(lock: SpinLock): void {
    this.checkLock(lock.address, SPINLOCK_BYTES);
    this.inner.spinUnlock(lock);
  }

  override mutexLock(lock: Mutex): void {
    this.checkLock(lock.address, SPINLOCK_BYTES);
    this.inner.mutexLock(lock);
  }

  override mutexUnlock(lock: Mutex): void {
    this.checkLock(lock.address, SPINLOCK_BYTES);
    this.inner.mutexUnlock(lock);
  }

  override srcuReadLock(srcu: Srcu): number {
    this.checkLock(srcu.address, srcuBytes(1));
    return this.inner.srcuReadLock(srcu);
  }

  override srcuReadUnlock(srcu: Srcu, index: number): void {
    this.checkLock(srcu.address, srcuBytes(1));
    this.inner.srcuReadUnlock(srcu, index);
  }

  override synchronizeSrcu(srcu: Srcu): void {
    this.checkLock(srcu.address, srcuBytes(1));
    this.inner.synchronizeSrcu(srcu);
  }

  override flushRemoteTlbs(domain: FlushDomain, range: FlushRange | null): void {
    this.check("flushRemoteTlbs", domain.address, flushDomainBytes(domain.maxMembers), 8);
    this.inner.flushRemoteTlbs(domain, range);
  }

  private checkLock(address: Address, bytes: number): void {
    this.check("lock", address, bytes, 8);
  }

  private check(use: CheckedUse, address: Address, bytes: number, alignment: number): void {
    const what = { use, address, bytes };
    this.checker.checkInside(what);
    if (address % alignment !== 0) throw new MisalignedAccessError(what, alignment);
    this.checker.checkAllocated(what);
  }
}

/** The address sanitizer for processors of the machine that `frames` belongs to. */
export function withAddressSanitizer(frames: FrameAllocator): CpuLayer {
  return (cpu) => new AddressSanitizingCpu(cpu, frames);
}
