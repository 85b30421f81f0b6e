import { baseVolatileRule } from "../update/volatile-rule.js";
import { linux615 } from "./linux-6.15.js";
import type { RuleSet } from "./rule-set.js";

/**
 * Linux 6.12, before lockless aging and before KVM kept A and D bits in software. The layout of an entry is that of 6.15. That its aging
 * holds `mmu_lock` is no part of a rule set.
 */
export const linux612: RuleSet = Object.freeze({
  ...linux615,
  name: "linux-6.12",

  softwareAdBits: false,
  resyncKeepsAccessed: false,
  dirtyOnRewrite: false,

  volatileRule: baseVolatileRule,
  mmuSpteUpdateFlush: "writable-accessed-or-dirty-lost",

  tdpAgedRoots: "all",
  tdpPrefetchSpurious: "none",
  tdpAllowedSpurious: false,
  tdpDirtyLogOff: "zap",
});
