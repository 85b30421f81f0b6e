import { DEFAULT_TLB_GEOMETRY } from "@kvm-age/vcpu";
import { type Command, Option } from "commander";
import { z } from "zod";
import { agersOption, MAX_AGERS } from "./agers-option.js";
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

/** Backing of guest memory, by the selftests' names. */
export const BACKINGS = ["anonymous", "anonymous_thp"] as const;

const PAGE_BYTES = 4096;
const PAGES_PER_2M = 512;
const DEFAULT_BYTES_PER_VCPU = 64 * 1024 * 1024;

/** Resolved options of the scenario `access-tracking`. */
export const accessTrackingOptionsSchema = z.strictObject({
  ...mmuOptionsShape,
  bytesPerVcpu: z.int().min(PAGE_BYTES).multipleOf(PAGE_BYTES).describe("guest memory of each vCPU, bytes"),
  overlap: z.boolean().describe("whether all vCPUs use all of the memory"),
  agingDuringFaults: z.boolean().describe("whether aging runs while the vCPUs populate their memory"),
  backing: z.enum(BACKINGS),
  agers: z.int().min(1).max(MAX_AGERS).describe("threads that age while the vCPUs populate their memory"),
  tooManyIdle: z.enum(["fail", "warn"]).describe("what 10 % of pages still idle after an access lead to"),
});
export type AccessTrackingOptions = z.infer<typeof accessTrackingOptionsSchema>;

/** What commander parses of them. */
export interface AccessTrackingFlags extends MmuFlags {
  readonly bytes: number;
  readonly overlap?: boolean;
  readonly agingDuringFaults?: boolean;
  readonly backing: (typeof BACKINGS)[number];
  readonly agers: number;
  readonly warnIdle: number;
}

/** Adds the scenario's options: the selftest's letters, then our own. */
export function addAccessTrackingOptions(command: Command): Command {
  command
    .addOption(vcpusOption())
    .addOption(
      new Option("-b, --bytes <size>", "memory per vCPU, 4K to what fits, with b, k, m, g or t")
        .argParser(sizeOption)
        .default(DEFAULT_BYTES_PER_VCPU, "64M; the selftest's is 1G"),
    )
    .option("-o, --overlap", "all vCPUs use all of the memory, instead of a part each")
    .option("-p, --aging-during-faults", "age while the vCPUs populate their memory, instead of the phases")
    .addOption(new Option("-s, --backing <type>", "backing memory").choices(BACKINGS).default("anonymous"))
    .addOption(
      new Option(
        "-w, --warn-idle <n>",
        "too many idle pages: > 0 only warn, 0 fail, < 0 fail unless the memory fits into the TLB",
      )
        .argParser(integerOption(-0x8000_0000, 0x7fff_ffff))
        .default(-1),
    )
    .addOption(agersOption("aging threads with -p", 1));
  return addMmuOptions(command);
}

/** Pages that a vCPU's TLB holds translations for, by the backing's page size. */
export function tlbReachPages(backing: AccessTrackingOptions["backing"]): number {
  const { small, large } = DEFAULT_TLB_GEOMETRY;
  return backing === "anonymous_thp" ? large.entries * PAGES_PER_2M : small.entries;
}

/** Accesses that hit the TLB set no Accessed bit, so pages in use that never leave it look idle: no fault of the MMU. */
function fitsIntoTlb(flags: AccessTrackingFlags): boolean {
  return flags.bytes / PAGE_BYTES <= tlbReachPages(flags.backing);
}

/**
 * Resolves the scenario's options.
 * @throws OptionRangeError unless the memory is a positive multiple of 4 KiB
 * @throws IncompatibleOptionsError for NPT without Accessed bits
 */
export function resolveAccessTrackingOptions(flags: AccessTrackingFlags): AccessTrackingOptions {
  if (flags.bytes < PAGE_BYTES || flags.bytes % PAGE_BYTES !== 0) {
    throw new OptionRangeError("--bytes", flags.bytes, `the multiples of ${PAGE_BYTES}, from ${PAGE_BYTES}`);
  }
  return accessTrackingOptionsSchema.parse({
    ...resolveMmuOptions(flags),
    bytesPerVcpu: flags.bytes,
    overlap: flags.overlap === true,
    agingDuringFaults: flags.agingDuringFaults === true,
    backing: flags.backing,
    agers: flags.agers,
    tooManyIdle: flags.warnIdle > 0 || (flags.warnIdle < 0 && fitsIntoTlb(flags)) ? "warn" : "fail",
  });
}
