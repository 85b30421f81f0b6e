import {
  type AccessTrackingFlags,
  type AccessTrackingOptions,
  addAccessTrackingOptions,
  resolveAccessTrackingOptions,
} from "../options/access-tracking-options.js";
import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import { runAccessTracking } from "../running/scenario-runner.js";
import { accessTrackingFailedChecks } from "./access-tracking-checks.js";
import { accessTrackingMeasures } from "./access-tracking-measures.js";
import { accessTrackingText } from "./access-tracking-text.js";
import type { Scenario } from "./scenario.js";

export const accessTracking: Scenario<AccessTrackingFlags, AccessTrackingOptions, AccessTrackingResult> = {
  name: "access-tracking",
  summary:
    "phases of access_tracking_perf_test: access fresh and aged memory, mark it idle; -p: age during faults",
  shows: [
    "kvm_mmu_notifier_clear_young, kvm_age_gfn, kvm_tdp_mmu_age_gfn_range",
    "kvm_tdp_mmu_map and fast_page_fault, against aging",
    "patches: Allow lockless walk of SPTEs when handling aging notifier event; Age TDP MMU SPTEs without holding mmu_lock",
  ],
  examples: [
    ["-v 2 -b 64M --policy lockless", "2 vCPUs with 64 MiB each, aging without mmu_lock"],
    ["-p -b 512M --policy locked", "aging under mmu_lock while 1 vCPU populates 512 MiB"],
    ["--no-ad --json result.json", "a CPU without A/D bits; the result as JSON in a file"],
  ],
  addOptions: addAccessTrackingOptions,
  resolve: resolveAccessTrackingOptions,
  busyThreads: (options) => options.vcpus + (options.agingDuringFaults ? options.agers : 0),
  run: runAccessTracking,
  format: accessTrackingText,
  failedChecks: accessTrackingFailedChecks,
  measures: accessTrackingMeasures,
};
