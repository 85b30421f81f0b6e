import type { Command } from "commander";
import type { MmuOptions } from "../options/mmu-options.js";
import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import type { MmuStressResult } from "../results/mmu-stress-result.js";
import type { NestedResult } from "../results/nested-result.js";
import type { ReplayResult } from "../results/replay-result.js";
import type { RunContext } from "../terminal/run-context.js";
import type { Style } from "../terminal/style.js";
import type { Measure } from "./measure.js";

/** A result of any scenario. */
export type ScenarioResult = AccessTrackingResult | ReplayResult | MmuStressResult | NestedResult;

/** What `list` and the help say about a scenario. */
export interface ScenarioDescription {
  readonly name: string;
  readonly summary: string;
  /** Kernel functions and patches of "KVM: x86/mmu: Age sptes locklessly" that it exercises. */
  readonly shows: readonly string[];
  /** Arguments for the examples of the help, each with what it does. */
  readonly examples: readonly (readonly [args: string, does: string])[];
}

/** Everything the commands need of a scenario. */
export interface Scenario<Flags, Options extends MmuOptions, Result extends ScenarioResult>
  extends ScenarioDescription {
  /** Adds the scenario's options, without `--policy`. */
  readonly addOptions: (command: Command) => Command;
  /** Turns parsed flags into options; throws a `UsageError` for what cannot be combined. */
  readonly resolve: (flags: Flags) => Options;
  /** Threads that are busy for most of the run. */
  readonly busyThreads: (options: Options) => number;
  readonly run: (options: Options, context: RunContext) => Promise<Result>;
  /** The result as text for people, without a newline at the end. */
  readonly format: (result: Result, style: Style) => string;
  /** Why the run did not pass its own checks, a sentence each; empty when it did. */
  readonly failedChecks: (result: Result) => readonly string[];
  /** The figures by which runs are compared. */
  readonly measures: (result: Result) => readonly Measure[];
}
