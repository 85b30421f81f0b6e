import type { Address, Cpu, RwLock, TraceEvent } from "@kvm-age/machine";
import { EndlessYieldError } from "../errors.js";
import { isWrite } from "../step/access-kinds.js";
import type { Step, StepKind } from "../step/step.js";
import { SteppingCpu } from "../step/stepping-cpu.js";
import { logEntry } from "./log-entry.js";

/** No walk of a test has so many places to give way at. */
const MAX_YIELDS = 10_000;

/**
 * Writes down every step of an operation right before it is taken, and lets a test answer for the scheduler. Three views of
 * the same: `steps` is everything, `log` is what orders (locks, RCU, fences, preemption, flushes, giving way) as lines of text,
 * `events` are the trace events.
 */
export class RecordingCpu extends SteppingCpu {
  override readonly tracing: boolean;
  /** Every step, in order. */
  readonly steps: Step[] = [];
  /** The steps that are no accesses, as lines (`logEntry`); a test may push lines of its own between them. */
  readonly log: string[] = [];
  readonly events: TraceEvent[] = [];
  /** Whether somebody waits for the lock, asked at every check. @default what the inner processor says */
  needbreak: (lock: RwLock) => boolean = (lock) => this.inner.rwlockNeedbreak(lock);
  /** Runs when the processor is given away, as what another one does meanwhile. Gets the inner `Cpu`, which is not recorded. */
  onCondResched: (cpu: Cpu) => void = () => {};
  private yields = 0;

  /** @param tracing whether the operation is to emit trace events */
  constructor(inner: Cpu, tracing = true) {
    super(inner);
    this.tracing = tracing;
  }

  /** The log's lines that begin with one of `starts`. */
  only(...starts: string[]): string[] {
    return this.log.filter((line) => starts.some((start) => line.startsWith(start)));
  }

  /** The remote flushes: `flush`, `flush 0x400+512`. */
  flushes(): string[] {
    return this.only("flush");
  }

  /** Names of the trace events, in order. */
  eventNames(): string[] {
    return this.events.map(({ name }) => name);
  }

  /** Fields of the trace events of that name, in order. */
  fieldsOf(name: string): TraceEvent["fields"][] {
    return this.events.filter((event) => event.name === name).map(({ fields }) => fields);
  }

  /** The steps that may have changed a word; a compare-exchange that failed is among them. */
  writes(): Step[] {
    return this.steps.filter(({ kind }) => isWrite(kind));
  }

  /** How the word at `address` was written, in order. */
  writesTo(address: Address): StepKind[] {
    return this.stepsAt(address).filter(isWrite);
  }

  /** What was done at `address`, in order: accesses of the word, and waiting for it. */
  stepsAt(address: Address): StepKind[] {
    return this.steps.filter((step) => step.address === address).map(({ kind }) => kind);
  }

  protected override step<Result>(step: Step, perform: () => Result): Result {
    this.steps.push(step);
    const line = logEntry(step);
    if (line !== null) this.log.push(line);
    return perform();
  }

  override rwlockNeedbreak(lock: RwLock): boolean {
    const { address, lockClass } = lock;
    return this.step({ kind: "rwlockNeedbreak", address, operands: [lockClass.name] }, () =>
      this.needbreak(lock),
    );
  }

  /** @throws EndlessYieldError after 10,000 times */
  override condResched(): void {
    if (++this.yields > MAX_YIELDS) throw new EndlessYieldError(this.yields, MAX_YIELDS);
    super.condResched();
    this.onCondResched(this.inner);
  }

  override trace(event: TraceEvent): void {
    this.events.push(event);
    super.trace(event);
  }
}
