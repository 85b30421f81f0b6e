import { type Command, Option } from "commander";
import { z } from "zod";
import { formatBytes } from "../terminal/format-quantity.js";
import { agersOption, MAX_AGERS } from "./agers-option.js";
import { IncompatibleOptionsError, OptionRangeError } from "./errors.js";
import { integerOption } from "./integer-option.js";
import {
  addMmuOptions,
  MAX_VCPUS,
  type MmuFlags,
  mmuOptionsShape,
  resolveMmuOptions,
} from "./mmu-options.js";
import { sizeOption } from "./size-option.js";

const PAGE_BYTES = 4096;
const DEFAULT_MEMORY_BYTES = 256 * 1024 * 1024;
const DEFAULT_SLOT_BYTES = 64 * 1024 * 1024;
/** Enough for any guest that fits into an arena, and few enough for the deletions to take seconds. */
const MAX_SLOTS = 512;

/** Resolved options of the scenario `mmu-stress`. */
export const mmuStressOptionsSchema = z.strictObject({
  ...mmuOptionsShape,
  maxMemoryBytes: z
    .int()
    .min(PAGE_BYTES)
    .describe("guest memory at most; slots that would go beyond it are left out"),
  slotBytes: z
    .int()
    .min(2 * PAGE_BYTES)
    .multipleOf(PAGE_BYTES)
    .describe("of each slot, and of the host memory that all of them map"),
  agers: z.int().min(0).max(MAX_AGERS).describe("threads that age the host memory during the whole test"),
});
export type MmuStressOptions = z.infer<typeof mmuStressOptionsSchema>;

/** What commander parses of them. */
export interface MmuStressFlags extends MmuFlags {
  readonly maxMemory: number;
  readonly slotSize: number;
  readonly agers: number;
}

/** Adds the scenario's options: the selftest's letters, then our own. */
export function addMmuStressOptions(command: Command): Command {
  command
    .addOption(
      new Option("-c, --vcpus <n>", `vCPUs, 1 to ${MAX_VCPUS}; the selftest's default is 3/4 of the CPUs`)
        .argParser(integerOption(1, MAX_VCPUS))
        .default(2),
    )
    .addOption(
      new Option("-m, --max-memory <size>", "guest memory, with b, k, m, g or t; the selftest's is in GiB")
        .argParser(sizeOption)
        .default(DEFAULT_MEMORY_BYTES, "256M; the selftest's is 128G"),
    )
    .addOption(
      new Option("-s, --slot-size <size>", "each slot, and the host memory that all slots map")
        .argParser(sizeOption)
        .default(DEFAULT_SLOT_BYTES, "64M; the selftest's is 2G"),
    )
    .addOption(agersOption("threads that age the host memory during the whole test", 0));
  return addMmuOptions(command);
}

/** Slots that fit into the guest memory. */
export function stressSlots(options: Pick<MmuStressOptions, "maxMemoryBytes" | "slotBytes">): number {
  return Math.floor(options.maxMemoryBytes / options.slotBytes);
}

/**
 * Resolves the scenario's options.
 * @throws OptionRangeError unless a slot is whole pages, at least two, and there is a page for each vCPU
 * @throws IncompatibleOptionsError unless 1 to 512 slots fit into the memory; and as `resolveMmuOptions`
 */
export function resolveMmuStressOptions(flags: MmuStressFlags): MmuStressOptions {
  const { vcpus, maxMemory, slotSize } = flags;
  if (slotSize < 2 * PAGE_BYTES || slotSize % PAGE_BYTES !== 0) {
    const allowed = `the multiples of ${PAGE_BYTES}, from ${2 * PAGE_BYTES}`;
    throw new OptionRangeError("--slot-size", slotSize, allowed);
  }
  const slots = stressSlots({ maxMemoryBytes: maxMemory, slotBytes: slotSize });
  if (slots < 1 || slots > MAX_SLOTS) {
    const [memory, slot] = [maxMemory, slotSize].map(formatBytes);
    const reason = `${slots} slots of ${slot} fit into ${memory}; allowed: 1 to ${MAX_SLOTS}`;
    throw new IncompatibleOptionsError(`--max-memory ${maxMemory}`, `--slot-size ${slotSize}`, reason);
  }
  const pages = (slots * slotSize) / PAGE_BYTES;
  if (vcpus > pages) throw new OptionRangeError("--vcpus", vcpus, `1 to ${pages}, the pages of guest memory`);
  return {
    ...resolveMmuOptions(flags),
    maxMemoryBytes: maxMemory,
    slotBytes: slotSize,
    agers: flags.agers,
  };
}
