import type { Command } from "commander";
import { type MmuOptions, policyOption } from "../options/mmu-options.js";
import { accessTracking } from "../scenarios/access-tracking.js";
import { mmuStress } from "../scenarios/mmu-stress.js";
import { nested } from "../scenarios/nested.js";
import { replay } from "../scenarios/replay.js";
import { runScenario } from "../scenarios/run-scenario.js";
import type { Scenario, ScenarioResult } from "../scenarios/scenario.js";
import { JSON_OPTION, withExamples } from "./help.js";
import { checkJsonTarget, type JsonTarget, tell } from "./report.js";
import { addScenario, addScenarioParent } from "./scenario-command.js";
import type { Session } from "./session.js";

function addRun<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  parent: Command,
  scenario: Scenario<Flags, Options, Result>,
  session: Session,
): void {
  const command = scenario.addOptions(addScenario(parent, scenario)).addOption(policyOption());
  command.option(...JSON_OPTION).action(async (flags: Flags & { readonly json?: string | true }) => {
    const options = scenario.resolve(flags);
    const json: JsonTarget = flags.json;
    await checkJsonTarget(json);
    const result = await session.work((context) => runScenario(scenario, options, context));
    const failedChecks = scenario.failedChecks(result);
    const text = (): string => scenario.format(result, session.style);
    for (const warning of result.warnings) session.say(`warning: ${warning}`);
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
    ["kvm-age run nested", "whether aging sees both what L1 and what L2 uses"],
  ]);
  addRun(run, accessTracking, session);
  addRun(run, replay, session);
  addRun(run, mmuStress, session);
  addRun(run, nested, session);
}
