import type { Address, Cpu } from "@kvm-age/machine";

type MethodName = {
  [Name in keyof Cpu]: Cpu[Name] extends (...operands: never[]) => unknown ? Name : never;
}[keyof Cpu];

/**
 * What a step does, by the name of the `Cpu`'s method. `clearBitsWhere` is none: it is the sequence of single accesses that
 * defines it.
 */
export type StepKind = Exclude<MethodName, "clearBitsWhere">;

/** One call of a `Cpu`'s method: the smallest thing that another processor can come before. */
export interface Step {
  readonly kind: StepKind;
  /** The word, lock, flush domain or RCU head; null for what has none (fences, preemption, RCU sections, tracing). */
  readonly address: Address | null;
  /**
   * What else the step was given: values and memory order of an access in the order of the method's parameters; name of a
   * lock's class, and then the index of `srcuReadUnlock`; first gfn and pages of a ranged flush; id of an RCU callback; name and
   * field values of a trace event.
   */
  readonly operands: readonly Operand[];
}

export type Operand = bigint | number | string | boolean;
