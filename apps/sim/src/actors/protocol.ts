import type { StatisticsSnapshot } from "@kvm-age/machine";
import type { VcpuStatistics } from "@kvm-age/vcpu";
import type { EventStream } from "../tracing/event-stream.js";
import type { LatencyData } from "../vm/latencies.js";
import type { VmHandle } from "../vm/vm.js";
import type { StressReadOnlyReport, StressWritableReport } from "./programs/mmu-stress/stress-report.js";
import type { NestedAgingReport } from "./programs/nested/age-nested.js";
import type { NestedSets } from "./programs/nested/nested-sets.js";
import type { TortureAgerReport } from "./programs/torture/torture-ager.js";
import type { TortureLoggerReport } from "./programs/torture/torture-logger.js";
import type { TortureMoverReport } from "./programs/torture/torture-mover.js";
import type { TortureReclaimerReport } from "./programs/torture/torture-reclaimer.js";
import type { TortureVcpuProgram, TortureVcpuReport } from "./programs/torture/torture-vcpu.js";
import type { RecordedTrace } from "./recorded-trace.js";

/** Who an actor is. A `vmm` is the main thread of the process that owns the VM. */
export type ActorRole = "vcpu" | "vmm" | "ager" | "reclaimer" | "mover" | "logger";

/** What an actor is started with. */
export interface ActorInit {
  readonly vm: VmHandle;
  readonly role: ActorRole;
  /** Number among the actors of its role; of a vCPU, its number. */
  readonly index: number;
  /** Layers for checking. */
  readonly lockdep: boolean;
  readonly sanitizer: boolean;
  /** Where its events go; null if they are not recorded. */
  readonly events: EventStream | null;
}

/** A piece of the test memory: pages counted from its start. */
export interface PageRange {
  readonly firstPage: number;
  readonly pages: number;
}

/** What an actor does in one step. Foreground programs end by themselves, background ones when those are done. */
export type Program =
  | ({ readonly type: "touch"; readonly write: boolean } & PageRange)
  | ({ readonly type: "mark-idle" } & PageRange)
  | { readonly type: "aging-passes"; readonly share: number; readonly shares: number }
  | {
      readonly type: "replay";
      readonly trace: RecordedTrace;
      readonly firstPage: number;
      readonly repeat: number;
    }
  | { readonly type: "age-every"; readonly ms: number }
  | { readonly type: "reclaim-every"; readonly ms: number }
  | MmuStressProgram
  | NestedProgram
  | TortureProgram;

/** What the actors of `mmu-stress` do besides `touch`; `signals` are those of a `StressSignals`. */
export type MmuStressProgram =
  | { readonly type: "stress-reset"; readonly page: number }
  | ({ readonly type: "stress-read-only"; readonly vcpus: number } & StressPart)
  | ({ readonly type: "stress-writable" } & StressPart)
  | { readonly type: "protect"; readonly writable: boolean; readonly signals: SharedArrayBuffer }
  | { readonly type: "remove-slots" };

/** A vCPU's chunk of the test memory, and what it is told of its protection. */
export interface StressPart extends PageRange {
  readonly signals: SharedArrayBuffer;
}

/** What the actors of `nested` do. */
export type NestedProgram =
  | {
      readonly type: "nested-rounds";
      readonly sets: NestedSets;
      readonly rounds: number;
      /** Whether L1, and whether L2, accesses its sets in each round. */
      readonly l1: boolean;
      readonly l2: boolean;
    }
  | { readonly type: "nested-populate"; readonly sets: NestedSets }
  /** One pass that is checked, or passes without pause until the vCPUs are done. */
  | { readonly type: "age-nested"; readonly sets: NestedSets; readonly once: boolean };

/** What the actors of a torture run do: each its kind of mischief, by a seed of its own. */
export type TortureProgram =
  | TortureVcpuProgram
  | { readonly type: "torture-ager"; readonly seed: number }
  | { readonly type: "torture-reclaimer"; readonly seed: number }
  | { readonly type: "torture-mover"; readonly seed: number }
  | { readonly type: "torture-logger"; readonly seed: number; readonly versions: SharedArrayBuffer };

/** Report of `mark-idle`. */
export interface MarkIdleReport {
  readonly pages: number;
  readonly stillIdlePages: number;
  readonly noPfnPages: number;
}

/** Report of `aging-passes`. */
export interface AgingPassesReport {
  readonly passNs: number[];
  /** Pages found still idle, summed over the passes. */
  readonly idlePages: number;
}

/** Report of `age-every`: see `ReplayResult.accuracy`. */
export interface AgeEveryReport {
  readonly passNs: number[];
  readonly idleReports: number;
  readonly wronglyIdleReports: number;
  readonly idleTruePositives: number;
  readonly missedIdle: number;
}

/** Report of `reclaim-every`. */
export interface ReclaimReport {
  readonly reclaimedPages: number;
  readonly keptYoung: number;
  readonly swappedOutPages: number;
}

/** Report of programs with nothing to tell beyond the times. */
export type NothingToReport = null;

export type ProgramReport =
  | MarkIdleReport
  | AgingPassesReport
  | AgeEveryReport
  | ReclaimReport
  | StressReadOnlyReport
  | StressWritableReport
  | NestedAgingReport
  | TortureVcpuReport
  | TortureAgerReport
  | TortureReclaimerReport
  | TortureMoverReport
  | TortureLoggerReport
  | NothingToReport;

/** From the main thread. */
export type Command =
  | { readonly type: "run"; readonly step: number; readonly program: Program }
  | { readonly type: "finish" };

/** What an actor measured over its whole life. */
export interface ActorTotals {
  readonly role: ActorRole;
  readonly locks: StatisticsSnapshot;
  readonly latencies: LatencyData;
  readonly vcpu: VcpuStatistics | null;
  readonly faults: number;
  readonly refaults: number;
}

/** To the main thread. `startNs` and `endNs` are of `process.hrtime`, the same clock in all threads. */
export type Answer =
  | { readonly type: "armed"; readonly step: number }
  | {
      readonly type: "done";
      readonly step: number;
      readonly endNs: bigint;
      readonly report: ProgramReport;
    }
  | { readonly type: "totals"; readonly totals: ActorTotals }
  | { readonly type: "failed"; readonly name: string; readonly message: string };
