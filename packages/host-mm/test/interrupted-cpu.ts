import type { Cpu } from "@kvm-age/machine";
import { isAccess, type Step, type StepKind, SteppingCpu } from "@kvm-age/test-kit";

export interface Interruption {
  /** Number of the access in front of which the other operation runs, from 0. */
  readonly moment: number;
  /** Kinds of locks that the other operation would wait for: it runs when none is held. */
  readonly awaited: readonly ("spin" | "write")[];
  /** Whether the other operation would wait for something else. */
  readonly isBlocked: () => boolean;
  readonly interrupt: () => void;
}

/** A processor that lets another operation run to its end in front of one of its accesses. */
export class InterruptedCpu extends SteppingCpu {
  /** Whether the other operation has run. */
  ran = false;
  private accesses = 0;
  private held = 0;
  private readonly taking: ReadonlySet<StepKind>;
  private readonly dropping: ReadonlySet<StepKind>;

  constructor(
    inner: Cpu,
    private readonly interruption: Interruption,
  ) {
    super(inner);
    this.taking = new Set(interruption.awaited.map((kind) => `${kind}Lock` as const));
    this.dropping = new Set(interruption.awaited.map((kind) => `${kind}Unlock` as const));
  }

  protected override step<Result>({ kind }: Step, perform: () => Result): Result {
    if (isAccess(kind) && this.isDue()) {
      this.ran = true;
      this.interruption.interrupt();
    }
    const result = perform();
    if (this.taking.has(kind)) this.held++;
    if (this.dropping.has(kind)) this.held--;
    return result;
  }

  private isDue(): boolean {
    const { moment, isBlocked } = this.interruption;
    return this.accesses++ >= moment && !this.ran && this.held === 0 && !isBlocked();
  }
}
