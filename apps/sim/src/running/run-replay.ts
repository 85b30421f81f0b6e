import type { ActorTotals, AgeEveryReport, ReclaimReport } from "../actors/protocol.js";
import type { RecordedTrace } from "../actors/recorded-trace.js";
import type { TraceSummary } from "../lackey/summarize-trace.js";
import { memoryLimitPages } from "../options/memory-limit.js";
import type { ReplayOptions } from "../options/replay-options.js";
import { collectProvenance } from "../results/provenance.js";
import { REPLAY_SCHEMA_ID, type ReplayResult } from "../results/replay-result.js";
import type { RunContext } from "../terminal/run-context.js";
import { type CreatedVm, createVm } from "../vm/create-vm.js";
import type { VmConfig } from "../vm/vm-config.js";
import type { Assignment, Crew, StepReport } from "./crew.js";
import { machineFigures } from "./figures.js";
import { layerWarnings } from "./layer-warnings.js";
import { loadTrace } from "./load-trace.js";
import { withCrew } from "./with-crew.js";

/** Host pages beyond the limit: what stays in per-processor batches and stocks, and what a burst takes before reclaim wakes. */
const SPARE_HOST_PAGES = 512;

function configOf(options: ReplayOptions, summary: TraceSummary): VmConfig {
  const guestPages = summary.pages * options.vcpus;
  const reclaims = options.reclaimEveryMs > 0;
  const limit = reclaims ? memoryLimitPages(options.memoryLimit, guestPages) : guestPages;
  return {
    ...options,
    guestPages,
    hugePages: false,
    hostPages: guestPages + SPARE_HOST_PAGES * (1 + options.vcpus),
    memoryLimitPages: limit,
    swapSlots: reclaims ? guestPages : 0,
    contents: false,
    recordAccesses: true,
  };
}

function assignmentsOf(options: ReplayOptions, trace: RecordedTrace, pages: number): Assignment[] {
  const vcpus: Assignment[] = Array.from({ length: options.vcpus }, (_, index) => ({
    role: "vcpu",
    index,
    program: { type: "replay", trace, firstPage: index * pages, repeat: options.repeat },
  }));
  const ager: Assignment = { role: "ager", index: 0, program: { type: "age-every", ms: options.ageEveryMs } };
  if (options.reclaimEveryMs === 0) return [...vcpus, ager];
  const program = { type: "reclaim-every", ms: options.reclaimEveryMs } as const;
  return [...vcpus, ager, { role: "reclaimer", index: 0, program }];
}

function agingOf(options: ReplayOptions, report: AgeEveryReport): ReplayResult["aging"] {
  const sorted = [...report.passNs].sort((a, b) => a - b);
  const at = (share: number): number => (sorted[Math.ceil(sorted.length * share) - 1] ?? 0) / 1e9;
  const total = sorted.reduce((sum, ns) => sum + ns, 0);
  return {
    cadenceMs: options.ageEveryMs,
    passes: sorted.length,
    passSeconds: {
      mean: sorted.length === 0 ? 0 : total / sorted.length / 1e9,
      p50: at(0.5),
      p99: at(0.99),
      max: at(1),
    },
    idlePages: report.idleReports,
  };
}

function accuracyOf(report: AgeEveryReport): ReplayResult["accuracy"] {
  const { idleReports, wronglyIdleReports, idleTruePositives, missedIdle } = report;
  const wronglyIdleShare = idleReports === 0 ? 0 : wronglyIdleReports / idleReports;
  return { idleReports, wronglyIdleReports, wronglyIdleShare, idleTruePositives, missedIdle };
}

function vcpusOf(reports: readonly StepReport[], totals: readonly ActorTotals[]): ReplayResult["vcpus"] {
  const vcpuTotals = totals.filter(({ role }) => role === "vcpu");
  return reports
    .filter(({ role }) => role === "vcpu")
    .map(({ index, seconds }) => {
      const { vcpu, faults, refaults } = vcpuTotals[index]!;
      return { vcpu: index, seconds, accesses: vcpu!.accesses, tlbHits: vcpu!.hits, faults, refaults };
    });
}

function reportOf<Report>(reports: readonly StepReport[], role: StepReport["role"], none: Report): Report {
  const found = reports.find((report) => report.role === role);
  return found === undefined ? none : (found.report as Report);
}

async function replay(
  crew: Crew,
  assignments: readonly Assignment[],
): Promise<[StepReport[], ActorTotals[]]> {
  const reports = await crew.run("Replaying", assignments);
  return [reports, await crew.finish()];
}

/**
 * Scenario `replay`: vCPUs replay a recorded program, each in memory of its own, while an idle-page daemon and a reclaimer run at their cadence.
 *
 * @throws the errors of `loadTrace`, and GuestTooLargeError.
 */
export async function runReplay(options: ReplayOptions, context: RunContext): Promise<ReplayResult> {
  const provenance = collectProvenance();
  context.progress.update(`replay: reading ${options.trace}`);
  const { trace, summary } = await loadTrace(options.trace);
  const created = createVm(configOf(options, summary), context.recording?.mainCpu);
  const total = trace.lines * options.repeat * options.vcpus;
  const describe = (units: number): string =>
    `replay: ${Math.min(100, (100 * units) / total).toFixed(0)} % of ${total.toLocaleString("en-US")} accesses`;
  const roles = { vcpu: options.vcpus, ager: 1, reclaimer: options.reclaimEveryMs > 0 ? 1 : 0 };
  const assignments = assignmentsOf(options, trace, summary.pages);
  const [reports, totals] = await withCrew(created.vm.handle, roles, context, describe, (crew) =>
    replay(crew, assignments),
  );
  return {
    schema: REPLAY_SCHEMA_ID,
    provenance,
    options,
    seed: options.seed,
    interrupted: context.signal.aborted,
    warnings: layerWarnings(options, context),
    trace: traceOf(options, summary),
    ...partsOf(options, created, reports, totals),
    ...machineFigures(created, totals),
  };
}

function traceOf(options: ReplayOptions, summary: TraceSummary): ReplayResult["trace"] {
  const { lines, loads, stores, modifies, pages, writtenPages, footprintBytes } = summary;
  return { path: options.trace, lines, loads, stores, modifies, pages, writtenPages, footprintBytes };
}

function partsOf(
  options: ReplayOptions,
  created: CreatedVm,
  reports: readonly StepReport[],
  totals: readonly ActorTotals[],
): Pick<ReplayResult, "vcpus" | "faults" | "refaults" | "aging" | "accuracy" | "reclaim"> {
  const aging = reportOf<AgeEveryReport>(reports, "ager", {
    passNs: [],
    idleReports: 0,
    wronglyIdleReports: 0,
    idleTruePositives: 0,
    missedIdle: 0,
  });
  const nothing: ReclaimReport = { reclaimedPages: 0, keptYoung: 0, swappedOutPages: 0 };
  const reclaim = reportOf(reports, "reclaimer", nothing);
  const { memoryLimitPages: limitPages } = created.vm.config;
  return {
    vcpus: vcpusOf(reports, totals),
    faults: totals.reduce((sum, { faults }) => sum + faults, 0),
    refaults: totals.reduce((sum, { refaults }) => sum + refaults, 0),
    aging: agingOf(options, aging),
    accuracy: accuracyOf(aging),
    reclaim: { cadenceMs: options.reclaimEveryMs, limitPages, ...reclaim },
  };
}
