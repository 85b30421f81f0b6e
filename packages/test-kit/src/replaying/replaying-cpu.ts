import {
  type Address,
  type Cpu,
  type FlushDomain,
  flushRemoteTlbs,
  type LockdepHooks,
  noLockdepHooks,
  type RcuCallback,
  type TraceEvent,
} from "@kvm-age/machine";
import { ReplayMismatchError } from "../errors.js";
import type { Step, StepKind } from "../step/step.js";
import { SteppingCpu } from "../step/stepping-cpu.js";

/** Thrown out of a step to suspend the operation. */
const SUSPEND = Symbol("suspend");

/** A step that was taken, and what it returned. */
interface TakenStep {
  readonly step: Step;
  readonly result: unknown;
}

/** What gives back: done in `finally` blocks, so silent while the operation unwinds. */
const RELEASES: ReadonlySet<StepKind> = new Set<StepKind>([
  "preemptEnable",
  "readUnlock",
  "writeUnlock",
  "spinUnlock",
  "mutexUnlock",
  "rcuReadUnlock",
  "srcuReadUnlock",
]);

/**
 * A `Cpu` that suspends its operation at every step and resumes it by replay, as a machine that tries interleavings does: the
 * operation is called again from the start and fed what its steps returned, until it arrives where it was. Every replayed
 * step is compared with the one it stands for, with its address and operands, so code that is not deterministic given
 * what its accesses return is found out.
 *
 * Runs of words and remote flushes are taken apart into single accesses. RCU callbacks run on the inner processor: they are no
 * part of the operation. Its lock validator is the null form, which replay cannot confuse. The time grows with the square of
 * the number of steps.
 */
export class ReplayingCpu extends SteppingCpu {
  override readonly lockdep: LockdepHooks = noLockdepHooks;
  override readonly tracing: boolean;
  /** The trace events, each once however often it was replayed. */
  readonly events: TraceEvent[] = [];
  /** How often operations were suspended. */
  suspensions = 0;
  private taken: TakenStep[] = [];
  private cursor = 0;
  private mayGoOn = false;
  private unwinding = false;

  /** @param tracing whether the operation is to emit trace events */
  constructor(inner: Cpu, tracing = false) {
    super(inner);
    this.tracing = tracing;
  }

  /**
   * Runs one operation to its end, suspending it before each of its steps but the first.
   *
   * @throws ReplayMismatchError if it does not do again what it did
   */
  run<Result>(operation: (cpu: Cpu) => Result): Result {
    this.taken = [];
    for (;;) {
      this.cursor = 0;
      this.mayGoOn = true;
      this.unwinding = false;
      try {
        const result = operation(this);
        this.checkAtEnd();
        return result;
      } catch (error) {
        if (error !== SUSPEND) throw error;
        this.suspensions++;
      }
    }
  }

  /** Replayed from what was taken, performed, or refused. */
  protected override step<Result>(step: Step, perform: () => Result): Result {
    if (this.unwinding) {
      if (RELEASES.has(step.kind)) return undefined as Result;
      throw SUSPEND;
    }
    const before = this.taken[this.cursor];
    if (before !== undefined) {
      if (!isSame(before.step, step)) throw this.mismatch(before.step, textOf(step));
      this.cursor++;
      return before.result as Result;
    }
    if (!this.mayGoOn) {
      this.unwinding = true;
      throw SUSPEND;
    }
    this.mayGoOn = false;
    const result = perform();
    this.taken.push({ step, result });
    this.cursor++;
    return result;
  }

  private checkAtEnd(): void {
    const missing = this.taken[this.cursor];
    if (missing !== undefined) throw this.mismatch(missing.step, "the end");
  }

  private mismatch(before: Step, now: string): ReplayMismatchError {
    this.unwinding = true;
    return new ReplayMismatchError(this.cursor, textOf(before), now);
  }

  override callRcu(head: Address, callback: RcuCallback): void {
    const step: Step = { kind: "callRcu", address: head, operands: [callback.id] };
    this.step(step, () => this.inner.callRcu(head, callback));
  }

  override flushRemoteTlbs(domain: FlushDomain): void {
    flushRemoteTlbs(this, domain);
  }

  override trace(event: TraceEvent): void {
    const operands = [event.name, ...Object.values(event.fields)];
    this.step({ kind: "trace", address: null, operands }, () => void this.events.push(event));
  }
}

function isSame(one: Step, other: Step): boolean {
  return (
    one.kind === other.kind &&
    one.address === other.address &&
    one.operands.length === other.operands.length &&
    one.operands.every((operand, index) => operand === other.operands[index])
  );
}

function textOf({ kind, address, operands }: Step): string {
  const at = address === null ? [] : [`0x${address.toString(16)}`];
  return `${kind}(${[...at, ...operands.map(String)].join(", ")})`;
}
