import { type Cpu, type DurationData, DurationHistogram, mergeStatistics } from "@kvm-age/machine";
import type { ActorTotals } from "../actors/protocol.js";
import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import type { LatencySummary } from "../results/latency-summary.js";
import type { LockWait } from "../results/lock-wait.js";
import type { CreatedVm } from "../vm/create-vm.js";
import type { Vm } from "../vm/vm.js";

/** Summary of a distribution that several threads recorded. */
export function summarizeDurations(parts: readonly DurationData[]): LatencySummary {
  const all = new DurationHistogram();
  for (const part of parts) all.add(part);
  const totalNs = parts.reduce((sum, part) => sum + part.totalNs, 0);
  return {
    count: all.count,
    meanNs: all.count === 0 ? 0 : totalNs / all.count,
    p50Ns: all.percentileNs(50),
    p90Ns: all.percentileNs(90),
    p99Ns: all.percentileNs(99),
    p999Ns: all.percentileNs(99.9),
    maxNs: Math.max(0, ...parts.map((part) => part.maxNs)),
  };
}

/** `kvm->mmu_lock` as results name it: `mmu_lock`. */
function shortLockName(name: string): string {
  return name.replace(/^kvm->/, "");
}

function lockWaits(totals: readonly ActorTotals[]): LockWait[] {
  const merged = mergeStatistics(totals.map((actor) => actor.locks));
  return merged.flatMap(({ role, locks }) =>
    locks.map((lock) => {
      const wait = summarizeDurations([lock.wait]);
      const hold = summarizeDurations([lock.hold]);
      return {
        role,
        lock: shortLockName(lock.lockClass),
        mode: lock.mode,
        acquisitions: lock.acquisitions,
        waitTotalNs: lock.wait.totalNs,
        waitP50Ns: wait.p50Ns,
        waitP99Ns: wait.p99Ns,
        waitMaxNs: wait.maxNs,
        holdTotalNs: lock.hold.totalNs,
        holdP99Ns: hold.p99Ns,
        holdMaxNs: hold.maxNs,
      };
    }),
  );
}

function tlbFigures(totals: readonly ActorTotals[]): AccessTrackingResult["tlb"] {
  const sum = { accesses: 0, hits: 0, misses: 0, walks: 0, faults: 0, flushes: 0 };
  for (const { vcpu } of totals) {
    if (vcpu === null) continue;
    sum.accesses += vcpu.accesses;
    sum.hits += vcpu.hits;
    sum.misses += vcpu.misses;
    sum.walks += vcpu.walks;
    sum.faults += vcpu.faults;
    sum.flushes += vcpu.flushesServed;
  }
  return sum;
}

/** `kvm->stat`: the counters of both MMUs together. */
function mmuStatistics(vm: Vm, cpu: Cpu): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const mmu of [vm.tdp, vm.shadow]) {
    if (mmu === null) continue;
    for (const [name, value] of Object.entries<number>(mmu.statistics.read(cpu)))
      sum[name] = (sum[name] ?? 0) + value;
  }
  return sum;
}

type MachineFigures = Pick<
  AccessTrackingResult,
  "faultLatency" | "invalidationLatency" | "lockWaits" | "mmu" | "tlb" | "memory"
>;

/** What every scenario reports of MMU, TLBs, memory and locks. */
export function machineFigures(created: CreatedVm, totals: readonly ActorTotals[]): MachineFigures {
  const { cpu, machine, vm } = created;
  const arenaBytes = machine.frames.allocatedFrames(cpu) * 4096;
  const { guestPages } = vm.config;
  return {
    faultLatency: summarizeDurations(totals.map((actor) => actor.latencies.fault)),
    invalidationLatency: summarizeDurations(totals.map((actor) => actor.latencies.invalidation)),
    lockWaits: lockWaits(totals),
    mmu: mmuStatistics(vm, cpu),
    tlb: tlbFigures(totals),
    memory: { guestPages, arenaBytes, arenaBytesPerGuestPage: arenaBytes / guestPages },
  };
}
