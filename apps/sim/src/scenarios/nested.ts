import {
  addNestedOptions,
  type NestedFlags,
  type NestedOptions,
  resolveNestedOptions,
} from "../options/nested-options.js";
import type { NestedResult } from "../results/nested-result.js";
import { runNested } from "../running/scenario-runner.js";
import { nestedFailedChecks } from "./nested-checks.js";
import { nestedMeasures } from "./nested-measures.js";
import { nestedText } from "./nested-text.js";
import type { Scenario } from "./scenario.js";

export const nested: Scenario<NestedFlags, NestedOptions, NestedResult> = {
  name: "nested",
  summary: "an L1 that runs an L2 with another hot set: whether aging sees what each uses, and what it costs",
  shows: [
    "kvm_age_gfn: the TDP MMU, then the rmaps; kvm_test_age_gfn stops at a young TDP leaf; kvm_may_have_shadow_mmu_sptes",
    "kvm_init_shadow_ept_mmu, kvm_init_shadow_npt_mmu, kvm_rmap_age_gfn_range",
    "patches 6, 7 and 11 of version 9 of the series: a test that stops early, shadow MMU only if it may have SPTEs, rmaps without mmu_lock",
  ],
  examples: [
    ["", "one vCPU with 16 MiB; every answer of 10 passes checked"],
    ["-v 2 -b 64M --policy tdp-lockless", "the TDP MMU aged without mmu_lock, the shadow MMU under it"],
    ["--mmu-mode npt --rounds 1000 --json", "AMD's nested paging; JSON on standard output"],
  ],
  addOptions: addNestedOptions,
  resolve: resolveNestedOptions,
  busyThreads: (options) => options.vcpus + 1,
  run: runNested,
  format: nestedText,
  failedChecks: nestedFailedChecks,
  measures: nestedMeasures,
};
