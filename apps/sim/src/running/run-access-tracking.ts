import type { ActorTotals, AgingPassesReport, MarkIdleReport, Program } from "../actors/protocol.js";
import { type AccessTrackingOptions, tlbReachPages } from "../options/access-tracking-options.js";
import {
  ACCESS_TRACKING_SCHEMA_ID,
  type AccessTrackingResult,
  type IdleCheck,
} from "../results/access-tracking-result.js";
import { collectProvenance } from "../results/provenance.js";
import type { RunContext } from "../terminal/run-context.js";
import { type CreatedVm, createVm } from "../vm/create-vm.js";
import type { VmConfig } from "../vm/vm-config.js";
import type { Assignment, Crew, StepReport } from "./crew.js";
import { machineFigures } from "./figures.js";
import { layerWarnings } from "./layer-warnings.js";
import { summarizePasses } from "./summarize-passes.js";
import { withCrew } from "./with-crew.js";

const PAGE_BYTES = 4096;
const PAGES_PER_2M = 512;
/** Phases by the selftest's names. */
const MARKING = "Mark memory idle";
const POPULATING_AGED = "Populating memory (async)";

type Phase = AccessTrackingResult["phases"][number];
type Aging = NonNullable<AccessTrackingResult["agingDuringFaults"]>;

/** What the phases have produced so far; complete unless interrupted. */
interface Course {
  readonly phases: Phase[];
  readonly idleChecks: IdleCheck[];
  aging: Aging | null;
}

function guestPagesOf(options: AccessTrackingOptions): number {
  const perVcpu = options.bytesPerVcpu / PAGE_BYTES;
  return options.overlap ? perVcpu : perVcpu * options.vcpus;
}

function configOf(options: AccessTrackingOptions): VmConfig {
  const guestPages = guestPagesOf(options);
  const hugePages = options.backing === "anonymous_thp";
  // Room to spare, so that no page is refused for a stock that waits at another processor.
  const hostPages = (Math.ceil(guestPages / PAGES_PER_2M) + 2 + options.vcpus) * PAGES_PER_2M;
  return {
    ...options,
    guestPages,
    hugePages,
    hostPages,
    memoryLimitPages: hostPages,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}

/** The pages of vCPU `index`: its part, or with `-o` everything. */
function pagesOf(options: AccessTrackingOptions, index: number): { firstPage: number; pages: number } {
  const pages = options.bytesPerVcpu / PAGE_BYTES;
  return { firstPage: options.overlap ? 0 : index * pages, pages };
}

function forVcpus(count: number, program: (index: number) => Program): Assignment[] {
  return Array.from({ length: count }, (_, index) => ({ role: "vcpu", index, program: program(index) }));
}

function phaseOf(name: string, reports: readonly StepReport[]): Phase {
  const vcpus = reports
    .filter((report) => report.role === "vcpu")
    .map(({ index, seconds }) => ({ vcpu: index, seconds }));
  return { name, seconds: Math.max(0, ...vcpus.map(({ seconds }) => seconds)), vcpus };
}

/** One phase in which every vCPU accesses its memory. */
async function accessPhase(
  crew: Crew,
  options: AccessTrackingOptions,
  course: Course,
  name: string,
  write: boolean,
) {
  const programs = forVcpus(options.vcpus, (index) => ({ type: "touch", write, ...pagesOf(options, index) }));
  course.phases.push(phaseOf(name, await crew.run(name, programs)));
}

/** One phase in which every vCPU's thread marks its memory idle; with `-o` only the first has work. */
async function markPhase(crew: Crew, options: AccessTrackingOptions, course: Course): Promise<void> {
  const programs = forVcpus(options.overlap ? 1 : options.vcpus, (index) => ({
    type: "mark-idle",
    ...pagesOf(options, index),
  }));
  const reports = await crew.run(MARKING, programs);
  for (const { index, report } of reports) {
    const marked = report as MarkIdleReport;
    course.idleChecks.push({ phaseIndex: course.phases.length, vcpu: index, ...marked });
  }
  course.phases.push(phaseOf(MARKING, reports));
}

/** The phases of access_tracking_perf_test, version A, in order. */
async function runPhases(crew: Crew, options: AccessTrackingOptions, course: Course): Promise<void> {
  const phases: (() => Promise<void>)[] = [
    () => accessPhase(crew, options, course, "Populating memory", true),
    () => accessPhase(crew, options, course, "Writing to populated memory", true),
    () => accessPhase(crew, options, course, "Reading from populated memory", false),
    () => markPhase(crew, options, course),
    () => accessPhase(crew, options, course, "Writing to idle memory", true),
    () => markPhase(crew, options, course),
    () => accessPhase(crew, options, course, "Reading from idle memory", false),
  ];
  for (const phase of phases) {
    if (crew.control.isStopping) return;
    await phase();
  }
}

/** `-p`: aging passes without pause while the vCPUs populate their memory. */
async function runAgingDuringFaults(
  crew: Crew,
  options: AccessTrackingOptions,
  course: Course,
): Promise<void> {
  const agers: Assignment[] = Array.from({ length: options.agers }, (_, index) => ({
    role: "ager",
    index,
    program: { type: "aging-passes", share: index, shares: options.agers },
  }));
  const populate = forVcpus(options.vcpus, (index) => ({
    type: "touch",
    write: true,
    ...pagesOf(options, index),
  }));
  const reports = await crew.run(POPULATING_AGED, [...populate, ...agers]);
  course.phases.push(phaseOf(POPULATING_AGED, reports));
  course.aging = agingOf(reports);
}

function agingOf(reports: readonly StepReport[]): Aging {
  const agers = reports
    .filter(({ role }) => role === "ager")
    .map(({ report }) => report as AgingPassesReport);
  const vcpus = reports.filter(({ role }) => role === "vcpu");
  return {
    ...summarizePasses(agers.flatMap(({ passNs }) => passNs)),
    vcpuWallSeconds: Math.max(0, ...vcpus.map(({ seconds }) => seconds)),
    idlePages: agers.reduce((sum, { idlePages }) => sum + idlePages, 0),
  };
}

/** Why an aged page may look idle although it is used: its translation never leaves the TLB, so no walk sets A again. */
function tlbWarning(options: AccessTrackingOptions): string | null {
  const pages = options.bytesPerVcpu / PAGE_BYTES;
  const reach = tlbReachPages(options.backing);
  if (pages > reach || options.agingDuringFaults) return null;
  return `a vCPU's ${pages} pages fit into its TLB (reach ${reach} pages): accesses that hit it set no Accessed bit, so pages in use stay idle`;
}

function warningsOf(options: AccessTrackingOptions, context: RunContext): string[] {
  const tlb = tlbWarning(options);
  return [...layerWarnings(options, context), ...(tlb === null ? [] : [tlb])];
}

/**
 * Scenario `access-tracking`: the phases of the selftest access_tracking_perf_test with the page_idle bitmap, on real threads.
 *
 * @throws GuestTooLargeError if the guest does not fit into an arena.
 */
export async function runAccessTracking(
  options: AccessTrackingOptions,
  context: RunContext,
): Promise<AccessTrackingResult> {
  const provenance = collectProvenance();
  const created = createVm(configOf(options), context.recording?.mainCpu);
  const course: Course = { phases: [], idleChecks: [], aging: null };
  const agers = options.agingDuringFaults ? options.agers : 0;
  const describe = (units: number): string => `access-tracking: ${units.toLocaleString("en-US")} pages`;
  const totals = await withCrew(
    created.vm.handle,
    { vcpu: options.vcpus, ager: agers },
    context,
    describe,
    async (crew) => {
      if (options.agingDuringFaults) await runAgingDuringFaults(crew, options, course);
      else await runPhases(crew, options, course);
      return crew.finish();
    },
  );
  return resultOf(options, context, provenance, created, course, totals);
}

function resultOf(
  options: AccessTrackingOptions,
  context: RunContext,
  provenance: AccessTrackingResult["provenance"],
  created: CreatedVm,
  course: Course,
  totals: readonly ActorTotals[],
): AccessTrackingResult {
  const { baseGfn } = created.vm.handle;
  const startGpa = baseGfn * PAGE_BYTES;
  return {
    schema: ACCESS_TRACKING_SCHEMA_ID,
    provenance,
    options,
    seed: options.seed,
    interrupted: context.signal.aborted,
    warnings: warningsOf(options, context),
    guestTestMemory: { startGpa, endGpa: startGpa + created.vm.config.guestPages * PAGE_BYTES },
    phases: course.phases,
    agingDuringFaults: course.aging,
    idleChecks: course.idleChecks,
    ...machineFigures(created, totals),
  };
}
