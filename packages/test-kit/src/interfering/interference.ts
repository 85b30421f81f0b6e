import type { Address, Cpu } from "@kvm-age/machine";
import type { StepKind } from "../step/step.js";

/** What another processor does, and before which occurrence of which step. */
export interface Interference {
  readonly step: StepKind;
  /** Only steps at this address (of a word, a lock, a flush domain); absent: at any, and those that have none. */
  readonly address?: Address;
  /** Before which of the matching steps, from 1. @default 1 */
  readonly nth?: number;
  /** What happens there. Gets the inner `Cpu`, whose steps are not interfered with. */
  readonly act: (cpu: Cpu) => void;
}
