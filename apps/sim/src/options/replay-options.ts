import { type Command, Option } from "commander";
import { z } from "zod";
import { integerOption } from "./integer-option.js";
import { type MemoryLimit, memoryLimitOption, memoryLimitSchema } from "./memory-limit.js";
import {
  addMmuOptions,
  type MmuFlags,
  mmuOptionsShape,
  resolveMmuOptions,
  vcpusOption,
} from "./mmu-options.js";

const MAX_CADENCE_MS = 3_600_000;
const MAX_REPEAT = 1_000_000;

/** Resolved options of the scenario `replay`. */
export const replayOptionsSchema = z.strictObject({
  ...mmuOptionsShape,
  trace: z.string().min(1).describe("path of the recorded trace"),
  ageEveryMs: z.int().min(1).max(MAX_CADENCE_MS).describe("from the start of one aging pass to the next"),
  reclaimEveryMs: z.int().min(0).max(MAX_CADENCE_MS).describe("0: no reclaim"),
  memoryLimit: memoryLimitSchema.describe("guest memory that reclaim leaves resident"),
  repeat: z.int().min(1).max(MAX_REPEAT).describe("how often each vCPU replays the trace"),
});
export type ReplayOptions = z.infer<typeof replayOptionsSchema>;

/** What commander parses of them. */
export interface ReplayFlags extends MmuFlags {
  readonly trace: string;
  readonly ageEvery: number;
  readonly reclaimEvery: number;
  readonly memoryLimit: MemoryLimit;
  readonly repeat: number;
}

/** Adds the scenario's options. */
export function addReplayOptions(command: Command): Command {
  command
    .requiredOption("--trace <file>", "memory trace of valgrind's lackey (--trace-mem=yes), text or gzip")
    .addOption(vcpusOption())
    .addOption(
      new Option("--age-every <ms>", "start an aging pass every so many milliseconds")
        .argParser(integerOption(1, MAX_CADENCE_MS))
        .default(50),
    )
    .addOption(
      new Option("--reclaim-every <ms>", "reclaim every so many milliseconds; 0 = never")
        .argParser(integerOption(0, MAX_CADENCE_MS))
        .default(20),
    )
    .addOption(
      new Option("--memory-limit <limit>", "what reclaim leaves resident: a size or % of the trace's pages")
        .argParser(memoryLimitOption)
        .default({ unit: "percent", value: 75 }, "75%"),
    )
    .addOption(
      new Option("--repeat <n>", "replay the trace so many times")
        .argParser(integerOption(1, MAX_REPEAT))
        .default(1),
    );
  return addMmuOptions(command);
}

/**
 * Resolves the scenario's options.
 * @throws IncompatibleOptionsError for NPT without Accessed bits
 */
export function resolveReplayOptions(flags: ReplayFlags): ReplayOptions {
  return {
    ...resolveMmuOptions(flags),
    trace: flags.trace,
    ageEveryMs: flags.ageEvery,
    reclaimEveryMs: flags.reclaimEvery,
    memoryLimit: flags.memoryLimit,
    repeat: flags.repeat,
  };
}
