import type { MmuOptions } from "../../options/mmu-options.js";
import type { VmTuning } from "../../vm/vm-tuning.js";

/** What a run of the compliance suite is made of. Plain data; the same options give the same run, to the last access. */
export interface SuiteOptions
  extends Pick<MmuOptions, "mmu" | "policy" | "mmuMode" | "adBits" | "ruleSet" | "seed"> {
  readonly tuning: Partial<VmTuning>;
  readonly hugePages: boolean;
  /** Operations, one after the other. */
  readonly operations: number;
  /** Operations between two checks of the VM at rest. */
  readonly checkEvery: number;
  /** Whether agers do anything. @default true */
  readonly ages?: boolean;
  /** Whether the host reclaims: what it takes depends on the pages' age. @default true */
  readonly reclaims?: boolean;
}

/** What came of it. */
export interface SuiteResult {
  /** Empty if all is well. */
  readonly violations: string[];
  /** Accesses that reached a page. */
  readonly accesses: number;
  /** Every leaf and every dirty log, without what aging may change. */
  readonly mappings: readonly string[];
}

export const SUITE_GUEST_PAGES = 1024;
export const SUITE_VCPUS = 2;
