import { linux73, linux612, linux615, type RuleSet } from "@kvm-age/spte";
import type { TraceKernel } from "../schema/kernel-layout.js";

const RULE_SETS: Readonly<Record<TraceKernel, RuleSet>> = {
  "linux-6.12": linux612,
  "linux-6.15": linux615,
  "linux-7.3": linux73,
};

/** The rules by which the kernel's SPTEs are read. */
export function ruleSetOf(kernel: TraceKernel): RuleSet {
  return RULE_SETS[kernel];
}
