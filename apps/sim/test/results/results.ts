import { accessTrackingOptionsSchema } from "../../src/options/access-tracking-options.js";
import { replayOptionsSchema } from "../../src/options/replay-options.js";
import {
  ACCESS_TRACKING_SCHEMA_ID,
  type AccessTrackingResult,
} from "../../src/results/access-tracking-result.js";
import type { LatencySummary } from "../../src/results/latency-summary.js";
import type { LockWait } from "../../src/results/lock-wait.js";
import { collectProvenance } from "../../src/results/provenance.js";
import { REPLAY_SCHEMA_ID, type ReplayResult } from "../../src/results/replay-result.js";

const MMU = {
  vcpus: 1,
  policy: "lockless",
  mmuMode: "ept",
  adBits: true,
  ruleSet: "linux-7.3",
  seed: 0x6b8b4567,
  lockdep: false,
  sanitizer: false,
} as const;

export const LATENCY: LatencySummary = {
  count: 1000,
  meanNs: 1500,
  p50Ns: 1000,
  p90Ns: 2000,
  p99Ns: 30_000,
  p999Ns: 40_000,
  maxNs: 50_000,
};

export function lockWait(role: string, mode: string, waitTotalNs: number): LockWait {
  const waits = { waitTotalNs, waitP50Ns: 1, waitP99Ns: 20, waitMaxNs: 300 };
  const holds = { holdTotalNs: 4000, holdP99Ns: 50, holdMaxNs: 600 };
  return { role, lock: "mmu_lock", mode, acquisitions: 10, ...waits, ...holds };
}

function machine(): Pick<AccessTrackingResult, "faultLatency" | "lockWaits" | "mmu" | "tlb" | "memory"> {
  return {
    faultLatency: LATENCY,
    lockWaits: [lockWait("vcpu", "read", 700), lockWait("vcpu", "write", 300), lockWait("ager", "write", 50)],
    mmu: { pf_fixed: 1000 },
    tlb: { accesses: 2000, hits: 1000, misses: 1000, walks: 1000, faults: 500, flushes: 2 },
    memory: { guestPages: 262_144, arenaBytes: 2_500_000, arenaBytesPerGuestPage: 9.5 },
  };
}

const PHASES: readonly (readonly [string, number])[] = [
  ["Populating memory", 0.798882357],
  ["Writing to populated memory", 0.01351221],
  ["Reading from populated memory", 0.009871022],
  ["Mark memory idle", 3.003939277],
  ["Writing to idle memory", 0.061203948],
  ["Mark memory idle", 3.060128175],
  ["Reading from idle memory", 0.058811327],
];

/** The phases of a run with the figures of the selftest's example. */
export function accessTrackingResult(change: Partial<AccessTrackingResult> = {}): AccessTrackingResult {
  return {
    schema: ACCESS_TRACKING_SCHEMA_ID,
    provenance: collectProvenance(["run", "access-tracking"]),
    options: accessTrackingOptionsSchema.parse({
      ...MMU,
      bytesPerVcpu: 2 ** 30,
      overlap: false,
      agingDuringFaults: false,
      backing: "anonymous",
      agers: 1,
      tooManyIdle: "fail",
    }),
    seed: MMU.seed,
    interrupted: false,
    warnings: [],
    guestTestMemory: { startGpa: 0x3fff_bfff_f000, endGpa: 0x3fff_ffff_f000 },
    phases: PHASES.map(([name, seconds]) => ({ name, seconds, vcpus: [{ vcpu: 0, seconds }] })),
    agingDuringFaults: null,
    idleChecks: [{ phaseIndex: 5, vcpu: 0, pages: 262_144, stillIdlePages: 26, noPfnPages: 0 }],
    ...machine(),
    ...change,
  };
}

/** A run with aging during faults, with the series' published figures. */
export function agingDuringFaultsResult(): AccessTrackingResult {
  const result = accessTrackingResult({ phases: [], idleChecks: [] });
  return {
    ...result,
    options: { ...result.options, agingDuringFaults: true },
    agingDuringFaults: {
      passes: 35,
      totalSeconds: 18.448217547,
      averagePassSeconds: 0.527091929,
      passSeconds: [0.5],
      vcpuWallSeconds: 19.5,
      idlePages: 900,
    },
  };
}

/** A replay that reports something of everything. */
export function replayResult(change: Partial<ReplayResult> = {}): ReplayResult {
  return {
    schema: REPLAY_SCHEMA_ID,
    provenance: collectProvenance(["run", "replay"]),
    options: replayOptionsSchema.parse({
      ...MMU,
      trace: "t",
      ageEveryMs: 50,
      reclaimEveryMs: 20,
      memoryLimit: { unit: "percent", value: 75 },
      repeat: 1,
    }),
    seed: MMU.seed,
    interrupted: false,
    warnings: [],
    trace: {
      path: "t",
      lines: 3,
      loads: 1,
      stores: 1,
      modifies: 1,
      pages: 2,
      writtenPages: 2,
      footprintBytes: 8192,
    },
    vcpus: [
      { vcpu: 0, seconds: 1.25, accesses: 3, tlbHits: 1, faults: 2, refaults: 1 },
      { vcpu: 1, seconds: 2.5, accesses: 3, tlbHits: 1, faults: 2, refaults: 0 },
    ],
    faults: 4,
    refaults: 1,
    aging: {
      cadenceMs: 50,
      passes: 3,
      passSeconds: { mean: 0.002, p50: 0.001, p99: 0.003, max: 0.004 },
      idlePages: 8,
    },
    accuracy: {
      idleReports: 8,
      wronglyIdleReports: 2,
      wronglyIdleShare: 0.25,
      idleTruePositives: 6,
      missedIdle: 1,
    },
    reclaim: { cadenceMs: 20, limitPages: 1, reclaimedPages: 5, keptYoung: 7, swappedOutPages: 5 },
    invalidationLatency: { ...LATENCY, count: 0 },
    ...machine(),
    ...change,
  };
}
