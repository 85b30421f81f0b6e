import { readFile } from "node:fs/promises";
import { Command, Option } from "commander";
import { expect, test } from "vitest";
import { addTraceOutOptions } from "../../src/options/trace-out-option.js";
import { accessTracking } from "../../src/scenarios/access-tracking.js";
import { mmuStress } from "../../src/scenarios/mmu-stress.js";
import { nested } from "../../src/scenarios/nested.js";
import { replay } from "../../src/scenarios/replay.js";

const SCENARIOS = [accessTracking, replay, mmuStress, nested] as const;

/** Parses and resolves the arguments of a scenario as `run` and `compare` do; throws for what they refuse. */
function resolve(name: string, args: readonly string[]): unknown {
  const scenario = SCENARIOS.find((candidate) => candidate.name === name)!;
  const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
  for (const flag of ["--policy <p>", "--a <p>", "--b <p>", "--runs <n>", "--json [f]"])
    command.addOption(new Option(flag));
  const flags = addTraceOutOptions(scenario.addOptions(command))
    .parse([...args], { from: "user" })
    .opts();
  return (scenario.resolve as (flags: object) => unknown)(flags);
}

async function documented(path: string): Promise<string[]> {
  const text = await readFile(new URL(path, import.meta.url), "utf8");
  return [...text.matchAll(/^\$ (?:npx )?kvm-age (?:run|compare) (.*)$/gm)].map(([, line]) => line!);
}

const helped = SCENARIOS.flatMap(({ name, examples }) => examples.map(([args]) => `${name} ${args}`.trim()));
const lines = [
  ...(await documented("../../README.md")),
  ...(await documented("../../../../README.md")),
  ...helped,
];

test.each(lines)("the example %s is accepted", (line) => {
  const [name, ...args] = line.split(" ");
  expect(resolve(name!, args)).toHaveProperty("mmu");
});
