import { NESTED_SETS } from "../../src/actors/programs/nested/nested-sets.js";
import { accessTrackingOptionsSchema } from "../../src/options/access-tracking-options.js";
import { mmuStressOptionsSchema } from "../../src/options/mmu-stress-options.js";
import { nestedOptionsSchema } from "../../src/options/nested-options.js";
import { replayOptionsSchema } from "../../src/options/replay-options.js";
import {
  ACCESS_TRACKING_SCHEMA_ID,
  type AccessTrackingResult,
} from "../../src/results/access-tracking-result.js";
import type { LatencySummary } from "../../src/results/latency-summary.js";
import type { LockWait } from "../../src/results/lock-wait.js";
import {
  MMU_STRESS_SCHEMA_ID,
  type MmuStressResult,
  STRESS_RENDEZVOUS,
} from "../../src/results/mmu-stress-result.js";
import { type CheckedPass, NESTED_SCHEMA_ID, type NestedResult } from "../../src/results/nested-result.js";
import { collectProvenance } from "../../src/results/provenance.js";
import { REPLAY_SCHEMA_ID, type ReplayResult } from "../../src/results/replay-result.js";

const MMU = {
  vcpus: 1,
  policy: "lockless",
  mmu: "tdp",
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

type Machine = Pick<
  AccessTrackingResult,
  "faultLatency" | "invalidationLatency" | "lockWaits" | "mmu" | "tlb" | "memory"
>;

function machine(): Machine {
  return {
    faultLatency: LATENCY,
    invalidationLatency: { ...LATENCY, count: 0 },
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
    ...machine(),
    ...change,
  };
}

/** Two vCPUs, four slots, everything as it must be. */
export function mmuStressResult(change: Partial<MmuStressResult> = {}): MmuStressResult {
  const vcpu = { pages: 8, accesses: 3 * 8 + 1 + 16 + 10 };
  const writable = { stores: 8, efaults: 2, lateEfaults: 0 };
  return {
    schema: MMU_STRESS_SCHEMA_ID,
    provenance: collectProvenance(["run", "mmu-stress"]),
    options: mmuStressOptionsSchema.parse({
      ...MMU,
      vcpus: 2,
      maxMemoryBytes: 4 * 16384,
      slotBytes: 16384,
      agers: 1,
    }),
    seed: MMU.seed,
    interrupted: false,
    warnings: [],
    slots: { count: 4, pages: 4, startGpa: 2 ** 32, endGpa: 2 ** 32 + 4 * 16384 },
    rendezvous: STRESS_RENDEZVOUS.map((name, index) => ({ name, seconds: index + 0.5 })),
    vcpus: [
      { vcpu: 0, firstPage: 0, ...vcpu, readOnly: { stores: 6, efaults: 10, lateStores: 0 }, writable },
      { vcpu: 1, firstPage: 8, ...vcpu, readOnly: { stores: 0, efaults: 16, lateStores: 0 }, writable },
    ],
    efaults: 30,
    aging: {
      passes: 2,
      totalSeconds: 0.5,
      averagePassSeconds: 0.25,
      passSeconds: [0.2, 0.3],
      idlePages: 7,
    },
    ending: { deletedSlots: [4, 2], unmappedPages: 2, residentPages: 2, leakedPages: 0 },
    ...machine(),
    ...change,
  };
}

/** One checked pass after L1 and L2 ran, with so many young pages in each set. */
export function checkedPass(young: readonly [number, number, number, number]): CheckedPass {
  const sets = NESTED_SETS.map((set, index) => ({
    set,
    pages: 4,
    used: set !== "nobody",
    young: young[index]!,
  }));
  return { round: 1, accessedBy: "L1 and L2", seconds: 0.01, sets, testDisagreements: 0 };
}

/** One vCPU, one checked pass, everything as it must be. */
export function nestedResult(change: Partial<NestedResult> = {}): NestedResult {
  return {
    schema: NESTED_SCHEMA_ID,
    provenance: collectProvenance(["run", "nested"]),
    options: nestedOptionsSchema.parse({
      ...MMU,
      mmu: "tdp+nested",
      bytesPerVcpu: 65536,
      rounds: 50,
      checkRounds: 1,
    }),
    seed: MMU.seed,
    interrupted: false,
    warnings: [],
    populateSeconds: 0.1,
    alternation: {
      seconds: 0.75,
      vcpus: [{ vcpu: 0, seconds: 0.75 }],
      passes: 3,
      totalSeconds: 0.6,
      averagePassSeconds: 0.2,
      passSeconds: [0.2, 0.2, 0.2],
      falseYoung: 0,
    },
    checks: [checkedPass([4, 4, 4, 0])],
    accuracy: { trueYoung: 12, falseIdle: 0, trueIdle: 4, falseYoung: 0, testDisagreements: 0 },
    ...machine(),
    ...change,
  };
}
