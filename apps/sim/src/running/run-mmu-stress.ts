import { pagesToUnmap, slotsToRemove } from "../actors/programs/mmu-stress/remove-slots.js";
import type {
  StressReadOnlyReport,
  StressWritableReport,
} from "../actors/programs/mmu-stress/stress-report.js";
import { StressSignals } from "../actors/programs/mmu-stress/stress-signals.js";
import type { ActorTotals, AgingPassesReport, PageRange, Program } from "../actors/protocol.js";
import { type MmuStressOptions, stressSlots } from "../options/mmu-stress-options.js";
import { MMU_STRESS_SCHEMA_ID, type MmuStressResult } from "../results/mmu-stress-result.js";
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
/** Where the selftest's test memory begins. */
const START_GPA = 4 * 2 ** 30;
/** Host pages beyond those that are mapped: what waits in stocks at other processors. */
const SPARE_HOST_PAGES = 512;

type Rendezvous = MmuStressResult["rendezvous"][number];
type Ending = NonNullable<MmuStressResult["ending"]>;

/** What the stages have produced so far; complete unless interrupted. */
interface Course {
  readonly rendezvous: Rendezvous[];
  readonly readOnly: StressReadOnlyReport[];
  readonly writable: StressWritableReport[];
  readonly aging: AgingPassesReport[];
}

function configOf(options: MmuStressOptions): VmConfig {
  const pages = options.slotBytes / PAGE_BYTES;
  const hostPages = pages + SPARE_HOST_PAGES * (1 + options.vcpus);
  return {
    ...options,
    guestPages: pages * stressSlots(options),
    aliasedSlots: { startGpa: START_GPA, pages },
    hugePages: false,
    hostPages,
    memoryLimitPages: hostPages,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}

/** Chunk of vCPU `index`; what cannot be divided is left over, as in the selftest. */
function chunkOf({ guestPages, vcpus }: VmConfig, index: number): PageRange {
  const pages = Math.floor(guestPages / vcpus);
  return { firstPage: index * pages, pages };
}

/** The stages of mmu_stress_test, with the agers beside each of them. */
class StressStages {
  readonly course: Course = { rendezvous: [], readOnly: [], writable: [], aging: [] };
  private readonly signals = StressSignals.createBuffer();

  constructor(
    private readonly crew: Crew,
    private readonly config: VmConfig,
    private readonly agers: number,
    /** When the first thread was started, by `performance.now()`. */
    private readonly startMs: number,
  ) {}

  /** All of them, in order, unless interrupted. */
  async run(): Promise<void> {
    const { signals } = this;
    const { vcpus } = this.config;
    const stages: (() => Promise<void>)[] = [
      () => this.stage("spawning", (chunk) => ({ type: "touch", write: false, ...chunk, pages: 0 })),
      () => this.stage("run 1", (chunk) => ({ type: "touch", write: true, ...chunk })),
      () => this.stage("reset", ({ firstPage }) => ({ type: "stress-reset", page: firstPage })),
      () => this.stage("run 2", (chunk) => ({ type: "touch", write: true, ...chunk })),
      () =>
        this.stage("mprotect RO", (chunk) => ({ type: "stress-read-only", vcpus, signals, ...chunk }), {
          type: "protect",
          writable: false,
          signals,
        }),
      () =>
        this.stage("mprotect RW", (chunk) => ({ type: "stress-writable", signals, ...chunk }), {
          type: "protect",
          writable: true,
          signals,
        }),
      async () =>
        void (await this.step("removing slots", [
          { role: "vmm", index: 0, program: { type: "remove-slots" } },
        ])),
    ];
    for (const stage of stages) {
      if (this.crew.control.isStopping) return;
      await stage();
    }
  }

  /** One stage of every vCPU, up to a rendezvous, with the main thread's part in it. */
  private async stage(
    name: Rendezvous["name"],
    program: (chunk: PageRange) => Program,
    mainThread?: Program,
  ): Promise<void> {
    const vcpus: Assignment[] = Array.from({ length: this.config.vcpus }, (_, index) => {
      return { role: "vcpu", index, program: program(chunkOf(this.config, index)) };
    });
    const vmm: Assignment[] =
      mainThread === undefined ? [] : [{ role: "vmm", index: 0, program: mainThread }];
    const reports = await this.step(name, [...vcpus, ...vmm]);
    // Cut short: nobody reached this rendezvous.
    if (this.crew.control.isStopping) return;
    this.course.rendezvous.push({ name, seconds: this.secondsOf(name, reports) });
    const ofVcpus = reports.filter(({ role }) => role === "vcpu").map(({ report }) => report);
    if (name === "mprotect RO") this.course.readOnly.push(...(ofVcpus as StressReadOnlyReport[]));
    if (name === "mprotect RW") this.course.writable.push(...(ofVcpus as StressWritableReport[]));
  }

  /** From the opening of the gate to the last at the rendezvous; spawning begins with the first thread. */
  private secondsOf(name: Rendezvous["name"], reports: readonly StepReport[]): number {
    if (name === "spawning") return (performance.now() - this.startMs) / 1000;
    return Math.max(...reports.filter(({ role }) => role !== "ager").map(({ seconds }) => seconds));
  }

  private async step(name: string, assignments: readonly Assignment[]): Promise<StepReport[]> {
    const agers: Assignment[] = Array.from({ length: this.agers }, (_, share) => {
      return { role: "ager", index: share, program: { type: "aging-passes", share, shares: this.agers } };
    });
    const reports = await this.crew.run(name, [...assignments, ...agers]);
    const aged = reports.filter(({ role }) => role === "ager");
    this.course.aging.push(...aged.map(({ report }) => report as AgingPassesReport));
    return reports;
  }
}

function vcpusOf(course: Course, config: VmConfig, totals: readonly ActorTotals[]): MmuStressResult["vcpus"] {
  const vcpus = totals.filter(({ role }) => role === "vcpu");
  return course.writable.map((writable, vcpu) => ({
    vcpu,
    ...chunkOf(config, vcpu),
    accesses: vcpus[vcpu]!.vcpu!.accesses,
    readOnly: course.readOnly[vcpu]!,
    writable,
  }));
}

function agingOf(options: MmuStressOptions, course: Course): MmuStressResult["aging"] {
  if (options.agers === 0) return null;
  return {
    ...summarizePasses(course.aging.flatMap(({ passNs }) => passNs)),
    idlePages: course.aging.reduce((sum, { idlePages }) => sum + idlePages, 0),
  };
}

/**
 * The process exits without closing anything: the notifier's release must take every leaf of both MMUs away, so that the host gets
 * all of its pages back.
 */
function endOf({ vm, cpu }: CreatedVm): Ending {
  const { rss: residentPages } = vm.hostMm.counts(cpu);
  vm.hostMm.exitMmap(cpu);
  // What still waited for its place on an LRU list was kept by that alone.
  vm.hostMm.lruAddDrainAll(cpu);
  const { takenPages, stockedPages } = vm.hostMm.counts(cpu);
  return {
    deletedSlots: slotsToRemove(vm).map(({ slot }) => slot),
    unmappedPages: pagesToUnmap(vm),
    residentPages,
    leakedPages: takenPages - stockedPages,
  };
}

/**
 * Scenario `mmu-stress`: the stages of the selftest mmu_stress_test, whose slots all map the same host memory, on real threads.
 *
 * @throws GuestTooLargeError if the guest does not fit into an arena.
 */
export async function runMmuStress(options: MmuStressOptions, context: RunContext): Promise<MmuStressResult> {
  const provenance = collectProvenance();
  const created = createVm(configOf(options), context.recording?.mainCpu);
  const { config, handle } = created.vm;
  const roles = { vcpu: options.vcpus, vmm: 1, ager: options.agers };
  const describe = (units: number): string => `mmu-stress: ${units.toLocaleString("en-US")} pages`;
  const startMs = performance.now();
  const [course, totals] = await withCrew(handle, roles, context, describe, async (crew) => {
    const stages = new StressStages(crew, config, options.agers, startMs);
    await stages.run();
    return [stages.course, await crew.finish()] as const;
  });
  const interrupted = context.signal.aborted;
  const vcpus = interrupted ? [] : vcpusOf(course, config, totals);
  const { guestPages, aliasedSlots } = config;
  const endGpa = START_GPA + guestPages * PAGE_BYTES;
  return {
    schema: MMU_STRESS_SCHEMA_ID,
    provenance,
    options,
    seed: options.seed,
    interrupted,
    warnings: layerWarnings(options, context),
    slots: { count: stressSlots(options), pages: aliasedSlots!.pages, startGpa: START_GPA, endGpa },
    rendezvous: course.rendezvous,
    vcpus,
    efaults: vcpus.reduce((sum, { readOnly, writable }) => sum + readOnly.efaults + writable.efaults, 0),
    aging: agingOf(options, course),
    // In this order: figures of the VM as the test left it.
    ...machineFigures(created, totals),
    ending: interrupted ? null : endOf(created),
  };
}
