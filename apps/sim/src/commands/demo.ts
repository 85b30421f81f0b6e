import type { Command } from "commander";
import {
  type AccessTrackingOptions,
  accessTrackingOptionsSchema,
} from "../options/access-tracking-options.js";
import { DEFAULT_SEED, type MmuOptions } from "../options/mmu-options.js";
import type { ReplayOptions } from "../options/replay-options.js";
import type { CompareMetric } from "../results/compare-result.js";
import { accessTracking } from "../scenarios/access-tracking.js";
import { type ComparePlan, type Comparison, compareScenario } from "../scenarios/compare-scenario.js";
import { compareLegend, compareTable, warningLines } from "../scenarios/compare-text.js";
import { conclude, sentence } from "../scenarios/conclude.js";
import { replay } from "../scenarios/replay.js";
import { formatBytes } from "../terminal/format-quantity.js";
import type { RunContext } from "../terminal/run-context.js";
import { bundledTrace } from "./bundled-trace.js";
import { withExamples } from "./help.js";
import { tell } from "./report.js";
import type { Session } from "./session.js";

/**
 * Five runs a side: the smallest p is then 0.008, which outlives the adjustment for the number of figures as
 * soon as two of them differ.
 */
const PLAN: ComparePlan = { a: "locked", b: "lockless", runs: 5 };

/** One vCPU and one ager, so that a machine with two cores can bear it. */
const MMU: MmuOptions = {
  vcpus: 1,
  policy: "lockless",
  mmu: "tdp",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: DEFAULT_SEED,
  lockdep: false,
  sanitizer: false,
};

const ACCESS_TRACKING: AccessTrackingOptions = accessTrackingOptionsSchema.parse({
  ...MMU,
  bytesPerVcpu: 96 * 1024 * 1024,
  overlap: false,
  agingDuringFaults: true,
  backing: "anonymous",
  agers: 1,
  tooManyIdle: "fail",
});

/** Share of the trace's pages that reclaim leaves resident, in percent. */
const RESIDENT_PERCENT = 75;

function replayOptions(): ReplayOptions {
  return {
    ...MMU,
    trace: bundledTrace(),
    ageEveryMs: 50,
    reclaimEveryMs: 20,
    memoryLimit: { unit: "percent", value: RESIDENT_PERCENT },
    repeat: 1,
  };
}

/** One scenario under each of the MMUs, the other under the TDP MMU. */
async function compareAll(context: RunContext): Promise<Comparison[]> {
  const shadow: AccessTrackingOptions = { ...ACCESS_TRACKING, mmu: "shadow" };
  return [
    await compareScenario(accessTracking, ACCESS_TRACKING, PLAN, context),
    await compareScenario(accessTracking, shadow, PLAN, context),
    await compareScenario(replay, replayOptions(), PLAN, context),
  ];
}

/** What was run, in words, from the options. */
function introduction(replayed: ReplayOptions): string[] {
  const memory = formatBytes(ACCESS_TRACKING.bytesPerVcpu);
  return [
    "Aging a guest under mmu_lock (locked) against aging it without (lockless), on real threads.",
    `access-tracking: 1 vCPU populates ${memory} while 1 thread ages it, under the TDP MMU (tdp) and under shadow`,
    "paging (shadow), whose aging takes rmap locks instead. replay: 1 vCPU replays a recorded run of sqlite,",
    `aged every ${replayed.ageEveryMs} ms, reclaimed to ${RESIDENT_PERCENT} % every ${replayed.reclaimEveryMs} ms.`,
    "",
  ];
}

/** One table and one sentence about the headline figures of all comparisons. */
function demoText(comparisons: readonly Comparison[], session: Session): string {
  const results = comparisons.map(({ result }) => result);
  const shown = (metric: CompareMetric): boolean => metric.headline;
  const clauses = results.map(
    ({ scenario, mmu, metrics }) => `in ${scenario} (${mmu}), ${conclude(PLAN, metrics.filter(shown))}`,
  );
  const measured = results.some(({ metrics }) => metrics.length > 0);
  return [
    ...warningLines(results, session.style),
    ...introduction(replayOptions()),
    ...(measured ? [compareTable(results, session.style, shown), ""] : []),
    compareLegend(results),
    "",
    sentence(clauses.join("; ")),
  ].join("\n");
}

/** `kvm-age demo`: what `npm start` shows. */
export function addDemoCommand(program: Command, session: Session): void {
  const demo = program
    .command("demo")
    .description("locked against lockless aging in both MMUs, in under a minute");
  withExamples(demo, [["kvm-age demo", "one table and one sentence"]]);
  demo.action(async () => {
    const comparisons = await session.work(compareAll);
    const failedChecks = comparisons.flatMap((comparison) => comparison.failedChecks);
    const text = (): string => demoText(comparisons, session);
    const result = comparisons.map((comparison) => comparison.result);
    await tell(session, { result, failedChecks, text }, undefined);
  });
}
