import { type Command, Option } from "commander";
import { z } from "zod";
import { MMUS, type Mmu } from "../vm/mmu-shape.js";
import { IncompatibleOptionsError } from "./errors.js";
import { integerOption } from "./integer-option.js";

/** How the MMU notifier's aging calls are locked: both MMUs, or one of them only. */
export const POLICIES = ["locked", "tdp-lockless", "shadow-lockless", "lockless"] as const;
/** Two-dimensional paging of Intel (EPT) or of AMD (NPT). */
export const MMU_MODES = ["ept", "npt"] as const;
/** Kernels whose rules the MMU can follow. */
export const RULE_SETS = ["linux-6.12", "linux-6.15", "linux-7.3"] as const;

/** Seed of the selftests: the first value of glibc's unseeded generator. */
export const DEFAULT_SEED: number = 0x6b8b4567;
/** Most vCPUs of a scenario. */
export const MAX_VCPUS: number = 64;

const MAX_SEED = 0xffff_ffff;

/** The options that every scenario has, resolved. */
export const mmuOptionsShape = {
  vcpus: z.int().min(1).max(MAX_VCPUS),
  policy: z
    .enum(POLICIES)
    .describe(
      "locked: aging holds mmu_lock for write; lockless: it takes no mmu_lock; else only the MMU named takes none",
    ),
  mmu: z.enum(MMUS).describe("what maps the guest's memory"),
  mmuMode: z.enum(MMU_MODES),
  adBits: z.boolean().describe("whether the CPU maintains Accessed and Dirty bits"),
  ruleSet: z.enum(RULE_SETS),
  seed: z.int().min(0).max(MAX_SEED),
  lockdep: z.boolean().describe("whether lock order and contexts were checked"),
  sanitizer: z.boolean().describe("whether every memory access was checked"),
};

const mmuOptionsSchema = z.strictObject(mmuOptionsShape);
export type Policy = (typeof POLICIES)[number];
export type MmuOptions = z.infer<typeof mmuOptionsSchema>;

/** What commander parses of them. */
export interface MmuFlags {
  readonly vcpus: number;
  readonly policy?: Policy;
  readonly mmu: Mmu;
  readonly mmuMode: MmuOptions["mmuMode"];
  readonly ad: boolean;
  readonly ruleSet: MmuOptions["ruleSet"];
  readonly seed: number;
  readonly lockdep?: boolean;
  readonly sanitizer?: boolean;
}

/** `--policy`; apart from the others because `compare` sets it by itself. */
export function policyOption(): Option {
  return new Option("--policy <policy>", "how aging is locked").choices(POLICIES).default("lockless");
}

/**
 * Adds the options that every scenario has, without `--policy`.
 * @param mmus what the scenario can run on, the default first
 */
export function addMmuOptions(command: Command, mmus: readonly [Mmu, ...Mmu[]] = MMUS): Command {
  return command
    .addOption(new Option("--mmu <mmu>", "what maps the guest's memory").choices(mmus).default(mmus[0]))
    .addOption(
      new Option("--mmu-mode <mode>", "page-table format of two-dimensional paging")
        .choices(MMU_MODES)
        .default("ept"),
    )
    .option("--no-ad", "EPT without Accessed and Dirty bits: aging makes entries unreadable instead")
    .addOption(
      new Option("--rule-set <kernel>", "kernel whose rules apply").choices(RULE_SETS).default("linux-7.3"),
    )
    .addOption(
      new Option("--seed <n>", "recorded in the result; no scenario makes a random choice yet")
        .argParser(integerOption(0, MAX_SEED))
        .default(DEFAULT_SEED, `0x${DEFAULT_SEED.toString(16)}`),
    )
    .option("--lockdep", "check lock order and contexts (slow)")
    .option("--sanitizer", "check every memory access (slow)");
}

/** `-v`, as in the selftests. */
export function vcpusOption(): Option {
  return new Option("-v, --vcpus <n>", `vCPUs, 1 to ${MAX_VCPUS}`)
    .argParser(integerOption(1, MAX_VCPUS))
    .default(1);
}

/**
 * Resolves the options that every scenario has.
 * @throws IncompatibleOptionsError for NPT or shadow paging without Accessed bits, and for NPT with shadow paging
 */
export function resolveMmuOptions(flags: MmuFlags): MmuOptions {
  if (flags.mmu === "shadow" && flags.mmuMode === "npt") {
    const reason = "shadow paging is the absence of two-dimensional paging; use another --mmu";
    throw new IncompatibleOptionsError("--mmu-mode npt", "--mmu shadow", reason);
  }
  if (flags.mmuMode === "npt" && !flags.ad) {
    const reason = "AMD's nested page tables always have Accessed and Dirty bits; use --mmu-mode ept";
    throw new IncompatibleOptionsError("--no-ad", "--mmu-mode npt", reason);
  }
  if (flags.mmu === "shadow" && !flags.ad) {
    const reason = "processors have always set Accessed and Dirty in ordinary page tables; use another --mmu";
    throw new IncompatibleOptionsError("--no-ad", "--mmu shadow", reason);
  }
  return {
    vcpus: flags.vcpus,
    policy: flags.policy ?? "lockless",
    mmu: flags.mmu,
    mmuMode: flags.mmuMode,
    adBits: flags.ad,
    ruleSet: flags.ruleSet,
    seed: flags.seed,
    lockdep: flags.lockdep === true,
    sanitizer: flags.sanitizer === true,
  };
}
