import type { AgingPasses } from "../results/aging-passes.js";
import type { LatencySummary } from "../results/latency-summary.js";
import type { LockWait } from "../results/lock-wait.js";
import type { MetricKind } from "../statistics/compare-samples.js";
import type { ScenarioResult } from "./scenario.js";

/** One figure of one run, for comparison with other runs. */
export interface Measure extends MetricKind {
  readonly value: number;
}

/** Duration at a percentile of a distribution; none when nothing was recorded. */
function latencyMeasures(name: string, latency: LatencySummary): Measure[] {
  if (latency.count === 0) return [];
  return [
    { name: `${name} p50`, unit: "ns", better: "lower", headline: false, value: latency.p50Ns },
    { name: `${name} p99`, unit: "ns", better: "lower", headline: true, value: latency.p99Ns },
  ];
}

/** How many passes an ager made, and how long one took; no average of no passes. */
export function passMeasures({ passes, averagePassSeconds }: AgingPasses): Measure[] {
  const made: Measure = {
    name: "aging passes",
    unit: "count",
    better: "higher",
    headline: true,
    value: passes,
  };
  if (passes === 0) return [made];
  const value = averagePassSeconds;
  return [made, { name: "average aging pass", unit: "s", better: "lower", headline: true, value }];
}

/** Latencies that every scenario has, and what each role waited for `mmu_lock`. */
export function machineMeasures(result: ScenarioResult, roles: readonly string[]): Measure[] {
  return [
    ...latencyMeasures("guest fault", result.faultLatency),
    ...latencyMeasures("invalidation", result.invalidationLatency),
    ...mmuLockWaitMeasures(result.lockWaits, roles),
  ];
}

/** Time that each role waited for `mmu_lock`, all modes together; 0 for roles that never took it. */
function mmuLockWaitMeasures(lockWaits: readonly LockWait[], roles: readonly string[]): Measure[] {
  return roles.map((role) => {
    const waits = lockWaits.filter((wait) => wait.role === role && wait.lock === "mmu_lock");
    const value = waits.reduce((sum, wait) => sum + wait.waitTotalNs, 0);
    return { name: `mmu_lock wait of ${role}s`, unit: "ns", better: "lower", headline: true, value };
  });
}
