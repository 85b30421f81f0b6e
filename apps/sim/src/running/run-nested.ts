import type { NestedAgingReport, NestedPass } from "../actors/programs/nested/age-nested.js";
import { NESTED_SETS, type NestedSet, type NestedSets } from "../actors/programs/nested/nested-sets.js";
import type { Program } from "../actors/protocol.js";
import type { NestedOptions } from "../options/nested-options.js";
import { type CheckedPass, NESTED_SCHEMA_ID, type NestedResult } from "../results/nested-result.js";
import { collectProvenance } from "../results/provenance.js";
import type { RunContext } from "../terminal/run-context.js";
import { createVm } from "../vm/create-vm.js";
import type { VmConfig } from "../vm/vm-config.js";
import type { Assignment, Crew, StepReport } from "./crew.js";
import { machineFigures } from "./figures.js";
import { layerWarnings } from "./layer-warnings.js";
import { summarizePasses } from "./summarize-passes.js";
import { withCrew } from "./with-crew.js";

const PAGE_BYTES = 4096;
/** Host pages beyond the guest's: what waits in stocks at other processors. */
const SPARE_HOST_PAGES = 512;
const NOBODY = NESTED_SETS.indexOf("nobody");

/**
 * Who accesses its hot sets before each checked pass of a round. Pages that both had are to be found young once and then idle, in both MMUs
 * (concern B42); with L1 alone, what L2 has left behind must not hide what L1 does (concern B40).
 */
const CHECKED_PASSES: readonly NestedSet[] = ["L1 and L2", "nobody", "L1", "L2", "nobody"];

/** Who of L1 and L2 belongs to a set, or takes part in a pass. */
function levelsOf(who: NestedSet): { readonly l1: boolean; readonly l2: boolean } {
  return { l1: who === "L1" || who === "L1 and L2", l2: who === "L2" || who === "L1 and L2" };
}

/** Whether a set is accessed when those take part. */
function isUsed(set: NestedSet, accessedBy: NestedSet): boolean {
  const [of, by] = [levelsOf(set), levelsOf(accessedBy)];
  return (of.l1 && by.l1) || (of.l2 && by.l2);
}

/** What the steps have produced so far; complete unless interrupted. */
interface Course {
  populateSeconds: number;
  alternation: NestedResult["alternation"];
  readonly checks: CheckedPass[];
}

function setsOf(options: NestedOptions): NestedSets {
  return { vcpus: options.vcpus, pagesPerSet: options.bytesPerVcpu / PAGE_BYTES / NESTED_SETS.length };
}

function configOf(options: NestedOptions): VmConfig {
  const guestPages = (options.bytesPerVcpu / PAGE_BYTES) * options.vcpus;
  const hostPages = guestPages + SPARE_HOST_PAGES * (1 + options.vcpus);
  return {
    ...options,
    guestPages,
    hugePages: false,
    hostPages,
    memoryLimitPages: hostPages,
    swapSlots: 0,
    contents: false,
    recordAccesses: false,
  };
}

/** The steps of a run, one after the other. */
class NestedSteps {
  readonly course: Course = {
    populateSeconds: 0,
    alternation: { seconds: 0, vcpus: [], ...summarizePasses([]), falseYoung: 0 },
    checks: [],
  };
  private readonly sets: NestedSets;

  constructor(
    private readonly crew: Crew,
    private readonly options: NestedOptions,
  ) {
    this.sets = setsOf(options);
  }

  async run(): Promise<void> {
    const populated = await this.crew.run(
      "Populating memory",
      this.onVcpus({ type: "nested-populate", sets: this.sets }),
    );
    if (this.crew.control.isStopping) return;
    this.course.populateSeconds = slowest(populated);
    await this.alternate();
    // What the vCPUs did since the last whole pass is no matter of the checks.
    if (!this.crew.control.isStopping) await this.pass();
    for (let round = 1; round <= this.options.checkRounds; round++) {
      for (const accessedBy of CHECKED_PASSES) await this.check(round, accessedBy);
    }
  }

  /** L1 and L2 in turns, while the ager makes pass after pass. */
  private async alternate(): Promise<void> {
    const { sets } = this;
    const { rounds } = this.options;
    const turns = this.onVcpus({ type: "nested-rounds", sets, rounds, l1: true, l2: true });
    const reports = await this.crew.run("Turns under aging", [
      ...turns,
      ager({ type: "age-nested", sets, once: false }),
    ]);
    if (this.crew.control.isStopping) return;
    const passes = passesOf(reports);
    // The first pass still finds what was populated.
    const falseYoung = passes.slice(1).reduce((sum, { young }) => sum + young[NOBODY]!, 0);
    this.course.alternation = {
      seconds: slowest(reports),
      vcpus: vcpusOf(reports).map(({ index, seconds }) => ({ vcpu: index, seconds })),
      ...summarizePasses(passes.map(({ ns }) => ns)),
      falseYoung,
    };
  }

  /** One turn of those named, then one pass by itself, whose every answer is known beforehand. */
  private async check(round: number, accessedBy: NestedSet): Promise<void> {
    if (this.crew.control.isStopping) return;
    const { sets } = this;
    const turn: Program = { type: "nested-rounds", sets, rounds: 1, ...levelsOf(accessedBy) };
    await this.crew.run(`Turn ${round} of ${accessedBy}`, this.onVcpus(turn));
    const pass = await this.pass();
    if (pass !== undefined) this.course.checks.push(checkedPass(sets, round, accessedBy, pass));
  }

  /** One pass while no vCPU runs; none if interrupted. */
  private async pass(): Promise<NestedPass | undefined> {
    const once = ager({ type: "age-nested", sets: this.sets, once: true });
    return passesOf(await this.crew.run("Pass", [once]))[0];
  }

  private onVcpus(program: Program): Assignment[] {
    return Array.from({ length: this.options.vcpus }, (_, index) => ({ role: "vcpu", index, program }));
  }
}

function ager(program: Program): Assignment {
  return { role: "ager", index: 0, program };
}

function vcpusOf(reports: readonly StepReport[]): StepReport[] {
  return reports.filter(({ role }) => role === "vcpu");
}

function slowest(reports: readonly StepReport[]): number {
  return Math.max(0, ...vcpusOf(reports).map(({ seconds }) => seconds));
}

function passesOf(reports: readonly StepReport[]): readonly NestedPass[] {
  const found = reports.find(({ role }) => role === "ager");
  return (found!.report as NestedAgingReport).passes;
}

function checkedPass(
  { vcpus, pagesPerSet }: NestedSets,
  round: number,
  accessedBy: NestedSet,
  pass: NestedPass,
): CheckedPass {
  const sets = NESTED_SETS.map((set, index) => ({
    set,
    pages: vcpus * pagesPerSet,
    used: isUsed(set, accessedBy),
    young: pass.young[index]!,
  }));
  return { round, accessedBy, seconds: pass.ns / 1e9, sets, testDisagreements: pass.testDisagreements };
}

/** Pages of all checked passes, by what they were and what they were called. */
function accuracyOf(checks: readonly CheckedPass[]): NestedResult["accuracy"] {
  const sets = checks.flatMap((check) => check.sets);
  const sum = (used: boolean, pages: (set: CheckedPass["sets"][number]) => number): number =>
    sets.filter((set) => set.used === used).reduce((total, set) => total + pages(set), 0);
  return {
    trueYoung: sum(true, ({ young }) => young),
    falseIdle: sum(true, ({ pages, young }) => pages - young),
    trueIdle: sum(false, ({ pages, young }) => pages - young),
    falseYoung: sum(false, ({ young }) => young),
    testDisagreements: checks.reduce((total, check) => total + check.testDisagreements, 0),
  };
}

/**
 * Scenario `nested`: an L1 that runs an L2 with another hot set, on real threads. First in turns under a running ager; then turn and pass one
 * after the other, so that the right answer for every page is known.
 *
 * @throws GuestTooLargeError if the guest does not fit into an arena.
 */
export async function runNested(options: NestedOptions, context: RunContext): Promise<NestedResult> {
  const provenance = collectProvenance();
  const created = createVm(configOf(options), context.recording?.mainCpu);
  const describe = (units: number): string => `nested: ${units.toLocaleString("en-US")} pages`;
  const roles = { vcpu: options.vcpus, ager: 1 };
  const [course, totals] = await withCrew(created.vm.handle, roles, context, describe, async (crew) => {
    const steps = new NestedSteps(crew, options);
    await steps.run();
    return [steps.course, await crew.finish()] as const;
  });
  return {
    schema: NESTED_SCHEMA_ID,
    provenance,
    options,
    seed: options.seed,
    interrupted: context.signal.aborted,
    warnings: layerWarnings(options, context),
    ...course,
    accuracy: accuracyOf(course.checks),
    ...machineFigures(created, totals),
  };
}
