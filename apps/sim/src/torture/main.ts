import { parseArgs } from "node:util";
import { DEFAULT_TUNING, type VmTuning } from "../vm/vm-tuning.js";
import { runTorture } from "./run-torture.js";
import { drawTortureOptions, type TortureOptions } from "./torture-options.js";

export { runComplianceSuite } from "../compliance/suite/compliance-suite.js";
export type { SuiteOptions } from "../compliance/suite/suite-options.js";
export { runTorture } from "./run-torture.js";
export { defaultTortureOptions, drawTortureOptions, type TortureOptions } from "./torture-options.js";

// `npm run torture -- --rounds N --seed S`: each round a new seed, from which everything is drawn.

interface TortureFlags {
  readonly rounds: number;
  readonly seed: number;
  readonly checked: boolean;
}

function usageError(message: string): never {
  console.error(`torture: ${message}`);
  process.exit(2);
}

function integerFlag(name: string, text: string, minimum: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= minimum) return value;
  return usageError(`--${name} ${text}: an integer from ${minimum} is expected`);
}

function parseFlags(): TortureFlags {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string", default: "16" },
        seed: { type: "string", default: "1" },
        checked: { type: "boolean", default: false },
      },
    });
    const { checked } = values;
    return {
      rounds: integerFlag("rounds", values.rounds, 1),
      seed: integerFlag("seed", values.seed, 0),
      checked,
    };
  } catch (error) {
    return usageError((error as Error).message);
  }
}

/** One line that says what was drawn. */
function describeOptions({
  seed,
  mmu,
  mmuMode,
  adBits,
  ruleSet,
  policy,
  hugePages,
  tuning,
}: TortureOptions): string {
  const names = Object.keys(DEFAULT_TUNING) as (keyof VmTuning)[];
  const tuned = names.filter((name) => (tuning[name] ?? DEFAULT_TUNING[name]) !== DEFAULT_TUNING[name]);
  const words = [mmu, mmuMode, adBits ? "A/D" : "no A/D", ruleSet, policy, ...(hugePages ? ["huge"] : [])];
  return `seed ${seed}: ${[...words, ...tuned.map((name) => (tuning[name] ? name : `no ${name}`))].join(" ")}`;
}

async function main(): Promise<void> {
  const { rounds, seed: firstSeed, checked } = parseFlags();
  let failures = 0;
  for (let round = 0; round < rounds; round++) {
    const checks = { lockdep: checked, sanitizer: checked, complianceWatch: checked };
    const options = { ...drawTortureOptions(firstSeed + round), ...checks };
    const { violations, reads, writes, emulated } = await runTorture(options);
    console.log(
      `${describeOptions(options)}: ${reads} reads, ${writes} writes, ${emulated} without slot, ${violations.length} violations`,
    );
    for (const violation of violations) console.log(`  ${violation}`);
    if (violations.length > 0) failures++;
  }
  process.exitCode = failures === 0 ? 0 : 1;
}

if (process.argv[1]?.endsWith("torture.js")) await main();
