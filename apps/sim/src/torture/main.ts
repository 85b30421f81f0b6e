import { parseArgs } from "node:util";
import { runTorture, type TortureOptions } from "./run-torture.js";

export { runTorture } from "./run-torture.js";

// `npm run torture -- --rounds N --seed S`: each round a new seed and another combination of modes.

const MODES: readonly Partial<TortureOptions>[] = [
  { mmuMode: "ept", adBits: true, ruleSet: "linux-7.3", policy: "lockless" },
  { mmuMode: "ept", adBits: false, ruleSet: "linux-7.3", policy: "lockless" },
  { mmuMode: "ept", adBits: true, ruleSet: "linux-6.15", policy: "lockless" },
  { mmuMode: "ept", adBits: false, ruleSet: "linux-6.15", policy: "lockless", hugePages: true },
  { mmuMode: "npt", adBits: true, ruleSet: "linux-7.3", policy: "lockless", hugePages: true },
  { mmuMode: "ept", adBits: true, ruleSet: "linux-7.3", policy: "locked" },
  { mmuMode: "ept", adBits: false, ruleSet: "linux-7.3", policy: "locked" },
];

/** Options of a torture run where nothing else is said. */
export const defaultTortureOptions: TortureOptions = {
  vcpus: 2,
  agers: 2,
  accesses: 60_000,
  guestPages: 4096,
  hugePages: false,
  policy: "lockless",
  mmu: "tdp",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: 1,
  lockdep: false,
  sanitizer: false,
};

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
        rounds: { type: "string", default: "14" },
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

async function main(): Promise<void> {
  const { rounds, seed: firstSeed, checked } = parseFlags();
  let failures = 0;
  for (let round = 0; round < rounds; round++) {
    const checks = { lockdep: checked, sanitizer: checked };
    const options = {
      ...defaultTortureOptions,
      ...MODES[round % MODES.length],
      ...checks,
      seed: firstSeed + round,
    };
    const { violations, reads, writes, emulated } = await runTorture(options);
    const { mmuMode, adBits, ruleSet, policy, hugePages, seed } = options;
    console.log(
      `seed ${seed} ${mmuMode} A/D ${adBits ? "on" : "off"} ${ruleSet} ${policy}${hugePages ? " huge" : ""}: ${reads} reads, ${writes} writes, ${emulated} without slot, ${violations.length} violations`,
    );
    for (const violation of violations) console.log(`  ${violation}`);
    if (violations.length > 0) failures++;
  }
  process.exitCode = failures === 0 ? 0 : 1;
}

if (process.argv[1]?.endsWith("torture.js")) await main();
