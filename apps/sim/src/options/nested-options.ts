import { type Command, Option } from "commander";
import { z } from "zod";
import { NESTED_SETS } from "../actors/programs/nested/nested-sets.js";
import { OptionRangeError } from "./errors.js";
import { integerOption } from "./integer-option.js";
import {
  addMmuOptions,
  type MmuFlags,
  mmuOptionsShape,
  resolveMmuOptions,
  vcpusOption,
} from "./mmu-options.js";
import { sizeOption } from "./size-option.js";

const PAGE_BYTES = 4096;
/** One page for each set. */
const GRANULE_BYTES = PAGE_BYTES * NESTED_SETS.length;
const DEFAULT_BYTES_PER_VCPU = 16 * 1024 * 1024;
const MAX_ROUNDS = 1_000_000;
const MAX_CHECK_ROUNDS = 1_000;

/** Resolved options of the scenario `nested`. */
export const nestedOptionsSchema = z.strictObject({
  ...mmuOptionsShape,
  bytesPerVcpu: z
    .int()
    .min(GRANULE_BYTES)
    .multipleOf(GRANULE_BYTES)
    .describe("guest memory of each vCPU: a quarter each for L1, L2, both and nobody"),
  rounds: z
    .int()
    .min(1)
    .max(MAX_ROUNDS)
    .describe("turns of L1 and of L2 on each vCPU while a thread ages the memory"),
  checkRounds: z.int().min(1).max(MAX_CHECK_ROUNDS).describe("rounds of checked passes afterwards"),
});
export type NestedOptions = z.infer<typeof nestedOptionsSchema>;

/** What commander parses of them. */
export interface NestedFlags extends MmuFlags {
  readonly bytes: number;
  readonly rounds: number;
  readonly checkRounds: number;
}

/** Adds the scenario's options. */
export function addNestedOptions(command: Command): Command {
  command
    .addOption(vcpusOption())
    .addOption(
      new Option("-b, --bytes <size>", "memory per vCPU, 16K to what fits, with b, k, m, g or t")
        .argParser(sizeOption)
        .default(DEFAULT_BYTES_PER_VCPU, "16M"),
    )
    .addOption(
      new Option("--rounds <n>", "turns of L1 and L2 under a running ager")
        .argParser(integerOption(1, MAX_ROUNDS))
        .default(200),
    )
    .addOption(
      new Option("--check-rounds <n>", "rounds of passes whose every answer is checked")
        .argParser(integerOption(1, MAX_CHECK_ROUNDS))
        .default(2),
    );
  return addMmuOptions(command, ["tdp+nested"]);
}

/**
 * Resolves the scenario's options.
 * @throws OptionRangeError unless the memory is a positive multiple of 16 KiB
 * @throws IncompatibleOptionsError as `resolveMmuOptions`
 */
export function resolveNestedOptions(flags: NestedFlags): NestedOptions {
  const { bytes, rounds, checkRounds } = flags;
  if (bytes < GRANULE_BYTES || bytes % GRANULE_BYTES !== 0) {
    throw new OptionRangeError("--bytes", bytes, `the multiples of ${GRANULE_BYTES}, from ${GRANULE_BYTES}`);
  }
  return { ...resolveMmuOptions(flags), bytesPerVcpu: bytes, rounds, checkRounds };
}
