import { type Command, Option } from "commander";
import { integerOption } from "../options/integer-option.js";
import { type MmuOptions, POLICIES } from "../options/mmu-options.js";
import { accessTracking } from "../scenarios/access-tracking.js";
import { type ComparePlan, compareScenario } from "../scenarios/compare-scenario.js";
import { compareText } from "../scenarios/compare-text.js";
import { mmuStress } from "../scenarios/mmu-stress.js";
import { nested } from "../scenarios/nested.js";
import { replay } from "../scenarios/replay.js";
import type { Scenario, ScenarioResult } from "../scenarios/scenario.js";
import { JSON_OPTION, withExamples } from "./help.js";
import { checkJsonTarget, type JsonTarget, tell } from "./report.js";
import { addScenario, addScenarioParent } from "./scenario-command.js";
import type { Session } from "./session.js";

/** Most runs a side; the exact test stays quick up to here. */
const MAX_RUNS = 50;
const DEFAULT_RUNS = 5;

type CompareFlags<Flags> = Flags & ComparePlan & { readonly json?: string | true };

function addPlanOptions(command: Command): Command {
  return command
    .addOption(new Option("--a <policy>", "first policy").choices(POLICIES).default("locked"))
    .addOption(new Option("--b <policy>", "second policy").choices(POLICIES).default("lockless"))
    .addOption(
      new Option("--runs <n>", `runs of each, in turn, 1 to ${MAX_RUNS}; fewer than 4 prove nothing`)
        .argParser(integerOption(1, MAX_RUNS))
        .default(DEFAULT_RUNS),
    )
    .option(...JSON_OPTION);
}

function addCompare<Flags, Options extends MmuOptions, Result extends ScenarioResult>(
  parent: Command,
  scenario: Scenario<Flags, Options, Result>,
  session: Session,
): void {
  const command = addPlanOptions(scenario.addOptions(addScenario(parent, scenario)));
  command.action(async (flags: CompareFlags<Flags>) => {
    const options = scenario.resolve(flags);
    const json: JsonTarget = flags.json;
    await checkJsonTarget(json);
    const plan = { a: flags.a, b: flags.b, runs: flags.runs };
    const { result, failedChecks } = await session.work((context) =>
      compareScenario(scenario, options, plan, context),
    );
    const text = (): string => compareText(result, session.style);
    await tell(session, { result, failedChecks, text }, json);
  });
}

/** `kvm-age compare <scenario>`: two policies in turn, and what can be told from it. */
export function addCompareCommand(program: Command, session: Session): void {
  const compare = addScenarioParent(
    program,
    "compare",
    "run a scenario under two policies in turn and compare",
  );
  withExamples(compare, [
    ["kvm-age compare access-tracking -p -b 512M", "locked against lockless aging, 5 runs each"],
    ["kvm-age compare replay --trace app.lackey.gz --runs 8", "the same for a recorded program"],
    [
      "kvm-age compare nested --a tdp-lockless",
      "what the last patches brought: the shadow MMU without mmu_lock",
    ],
    ["kvm-age compare access-tracking --a locked --b locked", "how much this machine differs from itself"],
  ]);
  addCompare(compare, accessTracking, session);
  addCompare(compare, replay, session);
  addCompare(compare, mmuStress, session);
  addCompare(compare, nested, session);
}
