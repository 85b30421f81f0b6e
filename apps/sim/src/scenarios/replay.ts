import {
  addReplayOptions,
  type ReplayFlags,
  type ReplayOptions,
  resolveReplayOptions,
} from "../options/replay-options.js";
import type { ReplayResult } from "../results/replay-result.js";
import { runReplay } from "../running/scenario-runner.js";
import { replayMeasures } from "./replay-measures.js";
import { replayText } from "./replay-text.js";
import type { Scenario } from "./scenario.js";

export const replay: Scenario<ReplayFlags, ReplayOptions, ReplayResult> = {
  name: "replay",
  summary: "vCPUs replay the memory trace of a real program while its memory is aged and reclaimed",
  shows: [
    "kvm_mmu_notifier_clear_young beside invalidate_range_start/end and the faults that retry",
    "kvm_tdp_mmu_unmap_gfn_range, mmu_invalidate_retry, kvm_tdp_mmu_age_gfn_range",
    "patches: Age TDP MMU SPTEs without holding mmu_lock; Always update A/D-disabled SPTEs atomically",
  ],
  examples: [
    ["--trace app.lackey.gz", "one vCPU, an aging pass every 50 ms, 75 % of the pages resident"],
    ["--trace app.lackey -v 4 --age-every 10 --memory-limit 16M", "four vCPUs, hurried aging"],
    ["--trace app.lackey --reclaim-every 0 --json", "no reclaim; JSON on standard output"],
  ],
  addOptions: addReplayOptions,
  resolve: resolveReplayOptions,
  // With a short cadence ager and reclaimer hardly sleep between their passes.
  busyThreads: (options) => options.vcpus + 1 + (options.reclaimEveryMs > 0 ? 1 : 0),
  run: runReplay,
  format: replayText,
  failedChecks: () => [],
  measures: replayMeasures,
};
