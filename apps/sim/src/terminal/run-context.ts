import type { Progress } from "./progress.js";

/** What a running scenario gets from its caller. */
export interface RunContext {
  /** Aborted when the user interrupts: the scenario stops and returns what it has. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
}
