import type { Address } from "../../cpu/address.js";
import type { HeldMode, LockdepHooks } from "../../cpu/lockdep-hooks.js";
import type { AnyLock, LockClass } from "../../locks/lock.js";
import { CallSite } from "./call-site.js";
import {
  GracePeriodInReaderError,
  HeldAtExitError,
  LockAssertionError,
  RecursiveLockError,
  ReleaseNotHeldError,
  SleepInAtomicError,
} from "./errors.js";
import { describeUse, type HeldLock, type LockUse, lockUse, neverWaits, rcuUse } from "./held-lock.js";
import { HeldLocks } from "./held-locks.js";
import type { LockGraph } from "./lock-graph.js";

/** The rules of locking, for one processor: what it holds, and what it may do in that state. */
export class LockValidator implements LockdepHooks {
  private readonly held: HeldLocks;

  constructor(
    cpu: number,
    private readonly graph: LockGraph,
  ) {
    this.held = new HeldLocks(cpu);
  }

  // ---- Taking and releasing ------------------------------------------------------------------------------

  /**
   * Before `use` is waited for: checks recursion, and records the order towards everything held. The read sides of RCU
   * and SRCU nest and never wait, so nothing can come before them in a deadlock; they only come first in an order.
   *
   * @throws RecursiveLockError, CircularDependencyError.
   */
  beforeAcquire(use: LockUse): void {
    if (neverWaits(use)) return;
    for (const held of this.held.all) this.checkOrder(held, use);
  }

  /** `use` was taken. */
  afterAcquire(use: LockUse): void {
    this.held.push(use);
  }

  /**
   * Before `use` is released: the hold that ends.
   *
   * @throws ReleaseNotHeldError if there is none in this mode.
   */
  beforeRelease(use: LockUse): HeldLock {
    const held = this.held.find(use);
    if (held !== undefined && held.mode === use.mode) return held;
    throw new ReleaseNotHeldError(
      this.splat(`WARNING: bad unlock balance: ${describeUse(use)} is released but not held`),
    );
  }

  /** The hold has ended. */
  afterRelease(held: HeldLock): void {
    this.held.remove(held);
  }

  /**
   * Before a grace period of `domain` (RCU or an SRCU domain, for write) is waited for.
   *
   * @throws GracePeriodInReaderError, SleepInAtomicError, CircularDependencyError.
   */
  beforeGracePeriod(domain: LockUse): void {
    const { name } = domain.lockClass;
    if (this.held.all.some((held) => held.lockClass.name === name)) {
      throw new GracePeriodInReaderError(
        this.splat(`WARNING: grace period of "${name}" is waited for inside its own read section`),
      );
    }
    this.mightSleep();
    for (const held of this.held.all) this.recordOrder(held, domain);
  }

  private checkOrder(held: HeldLock, use: LockUse): void {
    if (held.lockClass.name !== use.lockClass.name) {
      this.recordOrder(held, use);
    } else if (held.address === use.address || use.lockClass.nests !== true) {
      throw new RecursiveLockError(
        this.splat(
          `WARNING: possible recursive locking detected\ncpu ${this.held.cpu} is about to take ${describeUse(use)} at ${new CallSite()}\nbut already holds ${describeUse(held)}`,
        ),
      );
    }
  }

  private recordOrder(held: HeldLock, use: LockUse): void {
    const from = held.lockClass.name;
    const to = use.lockClass.name;
    if (this.graph.has(from, to)) return;
    const at = new CallSite().toString();
    this.graph.add({ from, to, heldThen: this.held.names(), at, cpu: this.held.cpu });
  }

  // ---- Context ---------------------------------------------------------------------------------------------

  preemptDisabled(): void {
    this.held.preemptCount++;
  }

  /** @throws ReleaseNotHeldError if preemption is not disabled. */
  beforePreemptEnable(): void {
    if (this.held.preemptCount > 0) return;
    throw new ReleaseNotHeldError(this.splat("WARNING: preempt_enable without preempt_disable"));
  }

  preemptEnabled(): void {
    this.held.preemptCount--;
  }

  /** @throws SleepInAtomicError in atomic context: preemption disabled, or an atomic lock or section held. */
  mightSleep(): void {
    const reasons = this.held.atomicReasons();
    if (reasons.length === 0) return;
    const lines = ["BUG: sleeping function called from invalid context", `at ${new CallSite()}, because`];
    throw new SleepInAtomicError(
      this.splat([...lines, ...reasons.map((reason) => ` - ${reason}`)].join("\n")),
    );
  }

  /**
   * For the end of an operation.
   *
   * @throws HeldAtExitError if anything is held or preemption is disabled.
   */
  assertNothingHeld(): void {
    this.assertHeldCount(0);
    if (this.held.preemptCount === 0) return;
    throw new HeldAtExitError(
      this.splat(`WARNING: preemption still disabled at exit (${this.held.preemptCount} deep)`),
    );
  }

  /** Number of locks and read sections held. */
  get heldCount(): number {
    return this.held.all.length;
  }

  /** @throws HeldAtExitError if more than `count` locks are held. */
  assertHeldCount(count: number): void {
    if (this.heldCount <= count) return;
    throw new HeldAtExitError(this.splat("WARNING: lock held at exit"));
  }

  // ---- LockdepHooks ----------------------------------------------------------------------------------------

  assertHeld(lock: AnyLock, mode: HeldMode): void {
    if (this.isHeld(lock, mode)) return;
    this.failAssertion(`"${lock.lockClass.name}" must be held${mode === "any" ? "" : ` for ${mode}`}`);
  }

  assertNotHeld(lock: AnyLock): void {
    if (this.isHeld(lock, "any")) this.failAssertion(`"${lock.lockClass.name}" must not be held`);
  }

  /** A spinlock or rwlock disables preemption, as in the kernel. */
  assertPreemptionDisabled(): void {
    if (this.held.preemptCount > 0) return;
    if (this.held.all.some(({ kind }) => kind === "spinlock" || kind === "rwlock")) return;
    this.failAssertion("preemption must be disabled");
  }

  assertRcuReadLockHeld(): void {
    if (this.held.find(rcuUse) === undefined) this.failAssertion("an RCU read section must be held");
  }

  assertAnyHeld(...locks: AnyLock[]): void {
    if (locks.some((lock) => this.isHeld(lock, "any"))) return;
    const names = locks.map((lock) => `"${lock.lockClass.name}"`).join(", ");
    this.failAssertion(`at least one of ${names} must be held`);
  }

  acquired(lockClass: LockClass, address: Address): void {
    const use: LockUse = { kind: "annotated", lockClass, address, mode: "write" };
    this.beforeAcquire(use);
    this.afterAcquire(use);
  }

  released(lockClass: LockClass, address: Address): void {
    this.afterRelease(this.beforeRelease({ kind: "annotated", lockClass, address, mode: "write" }));
  }

  private isHeld(lock: AnyLock, mode: HeldMode): boolean {
    const held = this.held.find(lockUse(lock, "read"));
    return held !== undefined && (mode === "any" || held.mode === mode);
  }

  private failAssertion(rule: string): never {
    throw new LockAssertionError(this.splat(`WARNING: lock assertion failed: ${rule}, at ${new CallSite()}`));
  }

  private splat(heading: string): string {
    return `${heading}\n\n${this.held.describe()}`;
  }
}
