import {
  addMmuStressOptions,
  type MmuStressFlags,
  type MmuStressOptions,
  resolveMmuStressOptions,
} from "../options/mmu-stress-options.js";
import type { MmuStressResult } from "../results/mmu-stress-result.js";
import { runMmuStress } from "../running/scenario-runner.js";
import { mmuStressFailedChecks } from "./mmu-stress-checks.js";
import { mmuStressMeasures } from "./mmu-stress-measures.js";
import { mmuStressText } from "./mmu-stress-text.js";
import type { Scenario } from "./scenario.js";

export const mmuStress: Scenario<MmuStressFlags, MmuStressOptions, MmuStressResult> = {
  name: "mmu-stress",
  summary:
    "stages of mmu_stress_test: slots over the same host memory, written, protected and unprotected while it is aged",
  shows: [
    "kvm_handle_hva_range: one hva, a gfn in every slot; mmu_invalidate_retry; faults that end in EFAULT",
    "kvm_mmu_reset_context, kvm_mmu_zap_all_fast by slot deletion, kvm_mmu_zap_all by the notifier's release",
    "patches 2, 4 and 11 of version 9 of the series: aging without mmu_lock beside zaps of every slot at once",
  ],
  examples: [
    ["", "2 vCPUs, 4 slots of 64 MiB, aged by one thread"],
    ["-c 1 -m 1G -s 64M --mmu shadow", "16 slots under shadow paging: every host page in 16 rmaps"],
    ["--agers 0 --json result.json", "the selftest's own stages alone; the result as JSON in a file"],
  ],
  addOptions: addMmuStressOptions,
  resolve: resolveMmuStressOptions,
  busyThreads: (options) => options.vcpus + options.agers,
  run: runMmuStress,
  format: mmuStressText,
  failedChecks: mmuStressFailedChecks,
  measures: mmuStressMeasures,
};
