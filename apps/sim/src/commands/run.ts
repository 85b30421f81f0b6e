import { resolve } from "node:path";
import type { Command } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { IncompatibleOptionsError } from "../options/errors.js";
import { type MmuOptions, policyOption } from "../options/mmu-options.js";
import type { ReplayOptions } from "../options/replay-options.js";
import { addTraceOutOptions, type TraceOutFlags } from "../options/trace-out-option.js";
import { accessTracking } from "../scenarios/access-tracking.js";
import { mmuStress } from "../scenarios/mmu-stress.js";
import { nested } from "../scenarios/nested.js";
import { replay } from "../scenarios/replay.js";
import { runScenario } from "../scenarios/run-scenario.js";
import type { Scenario, ScenarioResult } from "../scenarios/scenario.js";
import { recordRun } from "../tracing/record-run.js";
import { type RecordedEvents, Recording } from "../tracing/recording.js";
import { JSON_OPTION, withExamples } from "./help.js";
import { checkJsonTarget, type JsonTarget, tell } from "./report.js";
import { addScenario, addScenarioParent } from "./scenario-command.js";
import type { Session } from "./session.js";

type RunFlags<Flags> = Flags & TraceOutFlags & { readonly json?: string | true };

/** @throws IncompatibleOptionsError if what the option names is the file of the trace */
function refuseSameFile(traceOut: string, option: string, file: string | true | undefined): void {
  if (typeof file !== "string" || resolve(file) !== resolve(traceOut)) return;
  throw new IncompatibleOptionsError("--trace-out", option, `both name the file ${traceOut}`);
}

/** The recording that the flags ask for; null if none. */
async function startRecording(
  scenario: string,
  options: MmuOptions,
  { traceOut, traceLimit, json }: RunFlags<unknown>,
): Promise<Recording | null> {
  if (traceOut === undefined) return null;
  refuseSameFile(traceOut, "--json", json);
  refuseSameFile(traceOut, "--trace", (options as Partial<ReplayOptions>).trace);
  const program = `kvm-age ${packageJson.version}`;
  const limit = traceLimit ?? Number.POSITIVE_INFINITY;
  return Recording.start({ path: traceOut, limit, scenario, options, program });
}

function describeTrace(path: string, { events, lost }: RecordedEvents): string {
  const kept = `trace: ${events.toLocaleString("en-US")} events in ${path}`;
  return lost === 0 ? kept : `${kept}; ${lost.toLocaleString("en-US")} more than --trace-limit were lost`;
}

function addRun<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  parent: Command,
  scenario: Scenario<Flags, Options, Result>,
  session: Session,
): void {
  const command = scenario.addOptions(addScenario(parent, scenario)).addOption(policyOption());
  addTraceOutOptions(command).option(...JSON_OPTION);
  command.action(async (flags: RunFlags<Flags>) => {
    const options = scenario.resolve(flags);
    const json: JsonTarget = flags.json;
    await checkJsonTarget(json);
    const recording = await startRecording(scenario.name, options, flags);
    const { result, trace } = await session.work((context) =>
      recordRun(recording, context, (inner) => runScenario(scenario, options, inner)),
    );
    const failedChecks = scenario.failedChecks(result);
    const text = (): string => scenario.format(result, session.style);
    for (const warning of result.warnings) session.say(`warning: ${warning}`);
    if (trace !== null) session.say(describeTrace(flags.traceOut!, trace));
    await tell(session, { result, failedChecks, text }, json);
  });
}

/** `kvm-age run <scenario>`: one run. */
export function addRunCommand(program: Command, session: Session): void {
  const run = addScenarioParent(program, "run", "run a scenario once, on real threads");
  withExamples(run, [
    ["kvm-age run access-tracking -v 2 -b 64M", "the phases of access_tracking_perf_test"],
    ["kvm-age run access-tracking -p --mmu shadow", "aging during faults, under shadow paging"],
    ["kvm-age run replay --trace app.lackey.gz", "the recorded memory accesses of a real program"],
    ["kvm-age run mmu-stress", "the stages of mmu_stress_test, aged all the while"],
    ["kvm-age run access-tracking --trace out.txt", "its events, as the kernel's trace file shows them"],
    ["kvm-age run nested", "whether aging sees both what L1 and what L2 uses"],
  ]);
  addRun(run, accessTracking, session);
  addRun(run, replay, session);
  addRun(run, mmuStress, session);
  addRun(run, nested, session);
}
