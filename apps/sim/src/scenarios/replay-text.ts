import type { ReplayResult } from "../results/replay-result.js";
import { formatBytes, formatCount, formatDuration, formatShare } from "../terminal/format-quantity.js";
import { renderTable } from "../terminal/render-table.js";
import type { Style } from "../terminal/style.js";
import { joinBlocks, lockWaitTable, machineLatencyTable, valueTable } from "./machine-tables.js";
import { mmuText } from "./mmu-text.js";

type Rows = (readonly [string, string])[];

function setUpFigures(result: ReplayResult): Rows {
  const { options, trace } = result;
  const kinds = `${formatCount(trace.loads)} loads, ${formatCount(trace.stores)} stores, ${formatCount(trace.modifies)} modifies`;
  const pages = `${formatCount(trace.pages)} (${formatBytes(trace.footprintBytes)})`;
  return [
    ["policy", options.policy],
    ["MMU", mmuText(options)],
    ["trace", `${trace.path}: ${kinds}`],
    ["pages of the trace", `${pages}, ${formatCount(trace.writtenPages)} written`],
  ];
}

function agingFigures(result: ReplayResult): Rows {
  const { aging, accuracy } = result;
  const { mean, p99, max } = aging.passSeconds;
  const durations = [mean, p99, max].map(formatDuration);
  const wrong = `${formatCount(accuracy.wronglyIdleReports)} of ${formatCount(accuracy.idleReports)}`;
  return [
    ["aging passes", `${formatCount(aging.passes)}, one every ${aging.cadenceMs} ms`],
    ["aging pass mean, p99, max", durations.join(", ")],
    ["wrongly called idle", `${wrong} reports (${formatShare(accuracy.wronglyIdleShare)})`],
    ["idle but not reported", formatCount(accuracy.missedIdle)],
  ];
}

function reclaimFigures(result: ReplayResult): Rows {
  const { reclaim, faults, refaults } = result;
  const counts = `${formatCount(faults)}, of which ${formatCount(refaults)} refaults`;
  if (reclaim.cadenceMs === 0)
    return [
      ["faults", counts],
      ["reclaim", "off"],
    ];
  const kept = `${formatCount(reclaim.reclaimedPages)} pages, ${formatCount(reclaim.keptYoung)} kept as young`;
  return [
    ["faults", counts],
    ["reclaimed", `${kept}, every ${reclaim.cadenceMs} ms, limit ${formatCount(reclaim.limitPages)} pages`],
  ];
}

function vcpuTable(result: ReplayResult, style: Style): string {
  const rows = result.vcpus.map((vcpu) => [
    String(vcpu.vcpu),
    formatDuration(vcpu.seconds),
    ...[vcpu.accesses, vcpu.tlbHits, vcpu.faults, vcpu.refaults].map(formatCount),
  ]);
  return renderTable({ head: ["vCPU", "time", "accesses", "TLB hits", "faults", "refaults"], rows }, style);
}

/** A replay as tables. */
export function replayText(result: ReplayResult, style: Style): string {
  return joinBlocks([
    `Random seed: 0x${result.seed.toString(16)}`,
    valueTable([...setUpFigures(result), ...agingFigures(result), ...reclaimFigures(result)], style),
    vcpuTable(result, style),
    machineLatencyTable(result, style),
    lockWaitTable(result.lockWaits, style),
  ]);
}
