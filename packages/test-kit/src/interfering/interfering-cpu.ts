import { type Cpu, type FlushDomain, flushRemoteTlbs } from "@kvm-age/machine";
import { InterferenceMissingError } from "../errors.js";
import type { Step } from "../step/step.js";
import { SteppingCpu } from "../step/stepping-cpu.js";
import type { Interference } from "./interference.js";

/**
 * Lets a test do what another processor could do, right before chosen steps of an operation: an interleaving that threads
 * would show once in a million runs, every time.
 *
 * A run of words falls into its accesses and a remote flush into its requests and waits, so that interference can come
 * between the look and the write of one word, or while a flush waits.
 */
export class InterferingCpu extends SteppingCpu {
  /** How many of the interferences have happened. */
  happened = 0;
  private readonly seen: number[];

  constructor(
    inner: Cpu,
    private readonly interferences: readonly Interference[],
  ) {
    super(inner);
    this.seen = interferences.map(() => 0);
  }

  /** @throws InterferenceMissingError if one has not happened: the test would have tested nothing */
  assertAllHappened(): void {
    const { length } = this.interferences;
    if (this.happened !== length) throw new InterferenceMissingError(this.happened, length);
  }

  protected override step<Result>(step: Step, perform: () => Result): Result {
    for (const [index, { step: kind, address, nth = 1, act }] of this.interferences.entries()) {
      if (kind !== step.kind || (address !== undefined && address !== step.address)) continue;
      this.seen[index]! += 1;
      if (this.seen[index] !== nth) continue;
      this.happened++;
      act(this.inner);
    }
    return perform();
  }

  /** One step, and then those that it consists of. */
  override flushRemoteTlbs(domain: FlushDomain): void {
    const step: Step = { kind: "flushRemoteTlbs", address: domain.address, operands: [] };
    this.step(step, () => flushRemoteTlbs(this, domain));
  }
}
