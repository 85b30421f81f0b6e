import type { Command } from "commander";
import type { ScenarioDescription } from "../scenarios/scenario.js";
import { SCENARIO_DESCRIPTIONS } from "../scenarios/scenario-descriptions.js";
import { UnknownScenarioError } from "./errors.js";
import { withExamples } from "./help.js";

/** Names of the scenarios, for messages. */
const SCENARIO_NAMES: readonly string[] = SCENARIO_DESCRIPTIONS.map(({ name }) => name);

/** A command whose subcommands are scenarios; without a known one it is a usage error that lists them. */
export function addScenarioParent(program: Command, name: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .usage("<scenario> [options]")
    .argument("[scenario]")
    .allowUnknownOption()
    .allowExcessArguments()
    .action((given: string | undefined) => {
      throw new UnknownScenarioError(name, given, SCENARIO_NAMES);
    });
}

/** The subcommand of one scenario, with its examples. */
export function addScenario(parent: Command, scenario: ScenarioDescription): Command {
  const examples = scenario.examples.map(
    ([args, does]) => [`kvm-age ${parent.name()} ${scenario.name} ${args}`.trimEnd(), does] as const,
  );
  return withExamples(
    parent.command(scenario.name).description(scenario.summary).allowExcessArguments(false),
    examples,
  );
}
