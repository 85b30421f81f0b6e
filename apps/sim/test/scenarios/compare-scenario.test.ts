import { availableParallelism } from "node:os";
import { describe, expect, test } from "vitest";
import type { AccessTrackingOptions } from "../../src/options/access-tracking-options.js";
import type { AccessTrackingResult } from "../../src/results/access-tracking-result.js";
import { compareResultSchema } from "../../src/results/compare-result.js";
import { accessTrackingFailedChecks } from "../../src/scenarios/access-tracking-checks.js";
import { accessTrackingMeasures } from "../../src/scenarios/access-tracking-measures.js";
import { compareScenario, runOrder } from "../../src/scenarios/compare-scenario.js";
import { compareText } from "../../src/scenarios/compare-text.js";
import { conclude, sentence } from "../../src/scenarios/conclude.js";
import { runScenario } from "../../src/scenarios/run-scenario.js";
import type { Scenario } from "../../src/scenarios/scenario.js";
import { compareSamples } from "../../src/statistics/compare-samples.js";
import { noProgress } from "../../src/terminal/progress.js";
import type { RunContext } from "../../src/terminal/run-context.js";
import { plainStyle } from "../../src/terminal/style.js";
import { accessTrackingResult } from "../results/results.js";

type TestScenario = Scenario<never, AccessTrackingOptions, AccessTrackingResult>;
type Run = (options: AccessTrackingOptions, context: RunContext, run: number) => AccessTrackingResult;

const OPTIONS = accessTrackingResult().options;
const context: RunContext = { signal: new AbortController().signal, progress: noProgress };

/** A scenario whose runs are made up. */
function scenario(run: Run, busyThreads = 1): TestScenario {
  let runs = 0;
  return {
    name: "access-tracking",
    summary: "",
    shows: [],
    examples: [],
    addOptions: (command) => command,
    resolve: () => OPTIONS,
    busyThreads: () => busyThreads,
    run: async (options, runContext) => run(options, runContext, runs++),
    format: () => "",
    failedChecks: accessTrackingFailedChecks,
    measures: accessTrackingMeasures,
  };
}

/** A result in which each phase takes `seconds`, a little more with every run. */
function timed(options: AccessTrackingOptions, seconds: number, run: number): AccessTrackingResult {
  const result = accessTrackingResult({ options });
  return {
    ...result,
    phases: result.phases.map((phase) => ({ ...phase, seconds: seconds * (1 + run / 1000) })),
  };
}

const lockedSlower: Run = (options, _, run) => timed(options, options.policy === "locked" ? 3 : 1, run);

describe("compareScenario", () => {
  test("runs the sides in turn, the first changing", () => {
    expect(runOrder(3)).toEqual(["a", "b", "b", "a", "a", "b"]);
  });

  test("runs each policy as often as planned and gives a valid result", async () => {
    const policies: string[] = [];
    const recorded = scenario((options, runContext, run) => {
      policies.push(options.policy);
      return lockedSlower(options, runContext, run);
    });
    const { result, failedChecks } = await compareScenario(
      recorded,
      OPTIONS,
      { a: "locked", b: "lockless", runs: 4 },
      context,
    );
    const [a, b] = ["locked", "lockless"];
    expect(policies).toEqual([a, b, b, a, a, b, b, a]);
    expect(compareResultSchema.parse(result)).toEqual(result);
    expect([result.a.results.length, result.b.results.length, failedChecks.length]).toEqual([4, 4, 0]);
  });

  test("tells a real difference, and only that", async () => {
    const plan = { a: "locked", b: "lockless", runs: 5 } as const;
    const { result } = await compareScenario(scenario(lockedSlower), OPTIONS, plan, context);
    const verdicts = new Map(result.metrics.map(({ name, verdict }) => [name, verdict]));
    expect(verdicts.get("Populating memory")).toBe("b better");
    expect(verdicts.get("guest fault p99")).toBe("not distinguishable");
    expect(result.conclusion).toMatch(
      /^Lockless is better than locked in 7 of 11 figures \(Populating memory 0\.33x/,
    );
    expect(result.conclusion).toMatch(/; 4 are not distinguishable\.$/);
    expect(result.warnings).toEqual([]);
  });

  test("finds nothing between a policy and itself", async () => {
    const plan = { a: "locked", b: "locked", runs: 5 } as const;
    const { result } = await compareScenario(scenario(lockedSlower), OPTIONS, plan, context);
    expect(result.conclusion).toBe("These runs do not tell locked and locked apart in any of 11 figures.");
    expect(compareText(result, plainStyle)).toContain("locked (b)/locked (a)");
  });

  test("says on top that three runs prove nothing", async () => {
    const plan = { a: "locked", b: "lockless", runs: 3 } as const;
    const { result } = await compareScenario(scenario(lockedSlower), OPTIONS, plan, context);
    expect(compareText(result, plainStyle)).toMatch(
      /^warning: 3 and 3 runs cannot tell anything apart: .* p is 0\.10/,
    );
    expect(result.metrics.every(({ verdict }) => verdict === "not distinguishable")).toBe(true);
  });

  test("collects failed checks and warnings of all runs, each once", async () => {
    const idle = { phaseIndex: 5, vcpu: 0, pages: 10, stillIdlePages: 5, noPfnPages: 0 };
    const failing = scenario((options) =>
      accessTrackingResult({ options, idleChecks: [idle], warnings: ["w"] }),
    );
    const plan = { a: "locked", b: "lockless", runs: 4 } as const;
    const { result, failedChecks } = await compareScenario(failing, OPTIONS, plan, context);
    expect(failedChecks).toEqual(["vCPU0: Too many pages still idle (5 out of 10)"]);
    expect(result.warnings).toEqual(["w"]);
  });

  test("stops at an interruption and compares what is complete", async () => {
    const controller = new AbortController();
    const interrupting = scenario((options, runContext, run) => {
      if (run === 2) controller.abort();
      return { ...lockedSlower(options, runContext, run), interrupted: runContext.signal.aborted };
    });
    const interruptible = { ...context, signal: controller.signal };
    const plan = { a: "locked", b: "lockless", runs: 5 } as const;
    const { result } = await compareScenario(interrupting, OPTIONS, plan, interruptible);
    expect([result.interrupted, result.a.results.length, result.b.results.length]).toEqual([true, 1, 1]);
    expect(result.metrics.length).toBe(11);
  });

  test("has something to say when interrupted before the first run", async () => {
    const aborted = { ...context, signal: AbortSignal.abort() };
    const plan = { a: "locked", b: "lockless", runs: 5 } as const;
    const { result } = await compareScenario(scenario(lockedSlower), OPTIONS, plan, aborted);
    expect(compareText(result, plainStyle)).toContain(
      "There are no figures to compare locked and lockless by.",
    );
  });
});

describe("runScenario", () => {
  test("puts the warning about cores first, once", async () => {
    const cores = availableParallelism();
    const quiet = await runScenario(scenario(lockedSlower, cores), OPTIONS, context);
    expect(quiet.warnings).toEqual([]);
    const busy = scenario((options) => accessTrackingResult({ options, warnings: ["other"] }), cores + 1);
    const { warnings } = await runScenario(busy, OPTIONS, context);
    expect(warnings).toEqual([expect.stringContaining(`${cores + 1} busy threads share ${cores}`), "other"]);
    const repeated = scenario((options) => accessTrackingResult({ options, warnings }), cores + 1);
    expect((await runScenario(repeated, OPTIONS, context)).warnings).toEqual(warnings);
  });
});

describe("conclude", () => {
  const kind = { name: "x", unit: "s", better: "lower", headline: true } as const;
  const low = [1, 2, 3, 4, 5];
  const high = [11, 12, 13, 14, 15];
  const labels = { a: "A", b: "B" };

  test.each([
    [[[high, low]], "B is better than A in 1 of 1 figure (x 0.23x)"],
    [[[low, high]], "B is worse than A in 1 of 1 figure (x 4.33x)"],
    [[[low, low]], "these runs do not tell A and B apart in any of 1 figure"],
    [
      [
        [high, low],
        [low, high],
        [low, low],
      ],
      "B is better than A in 1 of 3 figures (x 0.23x) and worse than A in 1 of 3 figures (x 4.33x); 1 is not distinguishable",
    ],
  ] as const)("of %j is %j", (samples, clause) => {
    const metrics = compareSamples(samples.map(([a, b]) => ({ kind, a, b })));
    expect(conclude(labels, metrics)).toBe(clause);
  });

  test("becomes a sentence", () => {
    expect(sentence("these runs")).toBe("These runs.");
  });
});
