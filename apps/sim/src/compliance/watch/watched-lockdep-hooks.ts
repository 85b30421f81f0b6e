import type { Address, AnyLock, HeldMode, LockClass, LockdepHooks } from "@kvm-age/machine";
import { RMAP_LOCK_CLASS } from "@kvm-age/rmap";

/** Told of the lists that a thread locks and unlocks. */
export interface RmapLockObserver {
  rmapLocked(head: Address): void;
  rmapUnlocking(head: Address): void;
}

/** Hands everything on to the validator inside, and tells of lists. */
export class WatchedLockdepHooks implements LockdepHooks {
  constructor(
    private readonly inner: LockdepHooks,
    private readonly observer: RmapLockObserver,
  ) {}

  assertHeld(lock: AnyLock, mode: HeldMode): void {
    this.inner.assertHeld(lock, mode);
  }

  assertNotHeld(lock: AnyLock): void {
    this.inner.assertNotHeld(lock);
  }

  assertPreemptionDisabled(): void {
    this.inner.assertPreemptionDisabled();
  }

  assertRcuReadLockHeld(): void {
    this.inner.assertRcuReadLockHeld();
  }

  assertAnyHeld(...locks: AnyLock[]): void {
    this.inner.assertAnyHeld(...locks);
  }

  mightSleep(): void {
    this.inner.mightSleep();
  }

  acquired(lockClass: LockClass, address: Address): void {
    this.inner.acquired(lockClass, address);
    if (lockClass.name === RMAP_LOCK_CLASS.name) this.observer.rmapLocked(address);
  }

  released(lockClass: LockClass, address: Address): void {
    if (lockClass.name === RMAP_LOCK_CLASS.name) this.observer.rmapUnlocking(address);
    this.inner.released(lockClass, address);
  }
}
