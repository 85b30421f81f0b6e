import type { Address } from "../../cpu/address.js";
import type { HeldMode, LockdepHooks } from "../../cpu/lockdep-hooks.js";
import type { AnyLock, LockClass } from "../../locks/lock.js";
import type { StatisticsRecorder } from "./statistics-recorder.js";

/** Hands everything on to the validator inside, and records annotated locks. */
export class StatisticsHooks implements LockdepHooks {
  constructor(
    private readonly inner: LockdepHooks,
    private readonly recorder: StatisticsRecorder,
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
    this.recorder.acquired(lockClass.name, address, "annotated", null);
  }

  released(lockClass: LockClass, address: Address): void {
    const releasedNs = this.recorder.nowNs();
    this.inner.released(lockClass, address);
    this.recorder.released(lockClass.name, address, releasedNs);
  }
}
