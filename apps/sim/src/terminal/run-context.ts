import type { Recording } from "../tracing/recording.js";
import type { Progress } from "./progress.js";

/** What a running scenario gets from its caller. */
export interface RunContext {
  /** Aborted when the user interrupts: the scenario stops and returns what it has. */
  readonly signal: AbortSignal;
  readonly progress: Progress;
  /** Where the run's events go; absent if they are not recorded, which costs nothing. */
  readonly recording?: Recording;
}
