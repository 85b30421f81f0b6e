import { availableParallelism } from "node:os";
import type { MmuOptions } from "../options/mmu-options.js";
import { busyThreadsWarning } from "../results/busy-threads-warning.js";
import type { RunContext } from "../terminal/run-context.js";
import type { Scenario, ScenarioResult } from "./scenario.js";

/**
 * Runs a scenario once; when its threads outnumber the cores, that is the first of the result's warnings.
 * The run gets a signal of its own, so that its listeners go away with it.
 */
export async function runScenario<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  scenario: Scenario<Flags, Options, Result>,
  options: Options,
  context: RunContext,
): Promise<Result> {
  const warning = busyThreadsWarning(scenario.busyThreads(options), availableParallelism());
  const result = await scenario.run(options, { ...context, signal: AbortSignal.any([context.signal]) });
  if (warning === null || result.warnings.includes(warning)) return result;
  return { ...result, warnings: [warning, ...result.warnings] };
}
