import type { LatencySummary } from "../results/latency-summary.js";
import type { LockWait } from "../results/lock-wait.js";
import { formatCount, formatDuration } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import type { Style } from "../terminal/style.js";
import type { ScenarioResult } from "./scenario.js";

function ns(value: number): string {
  return formatDuration(value * 1e-9);
}

/** A table of latency distributions; those without a record are left out. */
function latencyTable(latencies: readonly (readonly [string, LatencySummary])[], style: Style): string {
  const rows = latencies
    .filter(([, latency]) => latency.count > 0)
    .map(([name, latency]) => [
      name,
      formatCount(latency.count),
      ...[latency.meanNs, latency.p50Ns, latency.p90Ns, latency.p99Ns, latency.p999Ns, latency.maxNs].map(ns),
    ]);
  const head = ["latency", "count", "mean", "p50", "p90", "p99", "p99.9", "max"];
  return rows.length === 0 ? "" : renderTable({ head, rows }, style);
}

/** The latencies that every scenario has. */
export function machineLatencyTable(result: ScenarioResult, style: Style): string {
  const latencies = [
    ["guest fault", result.faultLatency],
    ["invalidation", result.invalidationLatency],
  ] as const;
  return latencyTable(latencies, style);
}

/** A table of who waited for which lock. */
export function lockWaitTable(lockWaits: readonly LockWait[], style: Style): string {
  if (lockWaits.length === 0) return "";
  const rows = lockWaits.map((wait) => [
    wait.role,
    wait.lock,
    wait.mode,
    formatCount(wait.acquisitions),
    ...[wait.waitTotalNs, wait.waitP99Ns, wait.waitMaxNs, wait.holdTotalNs, wait.holdMaxNs].map(ns),
  ]);
  const head = ["role", "lock", "mode", "acquired", "waited", "wait p99", "wait max", "held", "hold max"];
  return renderTable({ head, rows, leftColumns: [0, 1, 2] }, style);
}

/** A table of named values. */
export function valueTable(rows: readonly (readonly [string, string])[], style: Style): string {
  return renderTable({ head: ["figure", "value"], rows, leftColumns: [0, 1] }, style);
}

/** Text blocks with an empty line between them, empty ones left out. */
export function joinBlocks(blocks: readonly string[]): string {
  return blocks.filter((block) => block !== "").join("\n\n");
}
