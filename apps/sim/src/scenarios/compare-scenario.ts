import type { MmuOptions, Policy } from "../options/mmu-options.js";
import { COMPARE_SCHEMA_ID, type CompareMetric, type CompareResult } from "../results/compare-result.js";
import { compareSamples, SIGNIFICANCE } from "../statistics/compare-samples.js";
import { smallestPValue } from "../statistics/rank-sum-test.js";
import { prefixProgress } from "../terminal/progress.js";
import type { RunContext } from "../terminal/run-context.js";
import { conclude, sentence } from "./conclude.js";
import type { Measure } from "./measure.js";
import { runScenario } from "./run-scenario.js";
import type { Scenario, ScenarioResult } from "./scenario.js";

/** Which policies are compared, and by how many runs of each. */
export interface ComparePlan {
  readonly a: Policy;
  readonly b: Policy;
  readonly runs: number;
}

type Side = "a" | "b";
type Samples<Result> = Record<Side, Result[]>;

/** The order of the runs: a b, b a, a b, ... so that a drift of the machine hits both alike. */
export function runOrder(runs: number): Side[] {
  return Array.from({ length: runs }, (_, round): Side[] =>
    round % 2 === 0 ? ["a", "b"] : ["b", "a"],
  ).flat();
}

/** Runs both sides in turn; an interrupted run is left out and ends the series. */
async function collect<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  scenario: Scenario<Flags, Options, Result>,
  options: Options,
  plan: ComparePlan,
  context: RunContext,
): Promise<Samples<Result>> {
  const samples: Samples<Result> = { a: [], b: [] };
  for (const side of runOrder(plan.runs)) {
    if (context.signal.aborted) break;
    const label = `${scenario.name}, ${plan[side]}, run ${samples[side].length + 1} of ${plan.runs}`;
    context.progress.update(label);
    const progress = prefixProgress(context.progress, label);
    const result = await runScenario(scenario, { ...options, policy: plan[side] }, { ...context, progress });
    if (result.interrupted) break;
    samples[side].push(result);
  }
  return samples;
}

/** Values of one metric over runs; runs without the metric have none. */
function valuesOf(measures: readonly (readonly Measure[])[], name: string): number[] {
  return measures.flatMap((run) => run.filter((measure) => measure.name === name).map(({ value }) => value));
}

/** Compares every metric that both sides have. */
function compareMeasures(
  a: readonly (readonly Measure[])[],
  b: readonly (readonly Measure[])[],
): CompareMetric[] {
  const kinds = new Map([...a, ...b].flat().map(({ value: _, ...kind }) => [kind.name, kind]));
  const pairs = [...kinds.values()].map((kind) => {
    return { kind, a: valuesOf(a, kind.name), b: valuesOf(b, kind.name) };
  });
  return compareSamples(pairs.filter((pair) => pair.a.length > 0 && pair.b.length > 0));
}

function tooFewRunsWarning(aRuns: number, bRuns: number): string[] {
  const smallest = smallestPValue(aRuns, bRuns);
  if (smallest < SIGNIFICANCE) return [];
  const runs = `${aRuns} and ${bRuns} runs cannot tell anything apart`;
  return [`${runs}: the smallest possible p is ${smallest.toFixed(2)}, it must be below ${SIGNIFICANCE}`];
}

/** A comparison, and the checks that failed in any of its runs. */
export interface Comparison {
  readonly result: CompareResult;
  readonly failedChecks: readonly string[];
}

/** Runs a scenario under two policies in turn and compares the figures. */
export async function compareScenario<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  scenario: Scenario<Flags, Options, Result>,
  options: Options,
  plan: ComparePlan,
  context: RunContext,
): Promise<Comparison> {
  const { a, b } = await collect(scenario, options, plan, context);
  const metrics = compareMeasures(a.map(scenario.measures), b.map(scenario.measures));
  const warnings = [...a, ...b].flatMap((result) => result.warnings);
  const result: CompareResult = {
    schema: COMPARE_SCHEMA_ID,
    scenario: scenario.name,
    mmu: options.mmu,
    a: { label: plan.a, results: a },
    b: { label: plan.b, results: b },
    interrupted: context.signal.aborted,
    metrics,
    warnings: [...new Set([...warnings, ...tooFewRunsWarning(a.length, b.length)])],
    conclusion: sentence(conclude({ a: plan.a, b: plan.b }, metrics)),
  };
  return { result, failedChecks: [...new Set([...a, ...b].flatMap(scenario.failedChecks))] };
}
