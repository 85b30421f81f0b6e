import type { AccessKind } from "../access-observing-cpu.js";
import { DurationHistogram } from "./duration-histogram.js";
import { type LockMode, type LockStatisticsData, LockStatisticsTable } from "./lock-statistics.js";
import type { EventKind } from "./statistics-recorder.js";

/** Statistics of one role, as structured-cloneable data. */
export interface StatisticsSnapshot {
  readonly role: string;
  /** Calls by kind of access. */
  readonly accesses: Readonly<Partial<Record<AccessKind, number>>>;
  /** Words that those calls covered; differs from `accesses` for `memset64` and `clearBitsWhere`. */
  readonly words: Readonly<Partial<Record<AccessKind, number>>>;
  readonly events: Readonly<Partial<Record<EventKind, number>>>;
  readonly locks: readonly LockStatisticsData[];
}

/** Which locks a total is over; an absent field means all. */
export interface LockSelection {
  readonly role?: string;
  readonly lockClass?: string;
  readonly mode?: LockMode;
}

/** A total over locks, with percentiles. */
export interface LockTotals {
  readonly acquisitions: number;
  readonly wait: DurationHistogram;
  readonly hold: DurationHistogram;
}

type Counts = Readonly<Partial<Record<string, number>>>;

function addCounts(all: readonly Counts[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const counts of all) {
    for (const [kind, count] of Object.entries(counts)) sum[kind] = (sum[kind] ?? 0) + (count ?? 0);
  }
  return sum;
}

function mergeRole(role: string, snapshots: readonly StatisticsSnapshot[]): StatisticsSnapshot {
  const locks = new LockStatisticsTable();
  for (const data of snapshots.flatMap((snapshot) => snapshot.locks)) {
    locks.row(data.lockClass, data.mode).add(data);
  }
  return {
    role,
    accesses: addCounts(snapshots.map((snapshot) => snapshot.accesses)),
    words: addCounts(snapshots.map((snapshot) => snapshot.words)),
    events: addCounts(snapshots.map((snapshot) => snapshot.events)),
    locks: locks.toData(),
  };
}

/** Merges the snapshots of many processors: one result per role, in order of first appearance. */
export function mergeStatistics(snapshots: readonly StatisticsSnapshot[]): StatisticsSnapshot[] {
  const roles = [...new Set(snapshots.map((snapshot) => snapshot.role))];
  return roles.map((role) =>
    mergeRole(
      role,
      snapshots.filter((snapshot) => snapshot.role === role),
    ),
  );
}

/** Totals over the locks of `snapshots` that `selection` names. */
export function lockTotals(snapshots: readonly StatisticsSnapshot[], selection: LockSelection): LockTotals {
  const { role, lockClass, mode } = selection;
  const totals = { acquisitions: 0, wait: new DurationHistogram(), hold: new DurationHistogram() };
  for (const snapshot of snapshots) {
    if (role !== undefined && snapshot.role !== role) continue;
    for (const data of snapshot.locks) {
      if (lockClass !== undefined && data.lockClass !== lockClass) continue;
      if (mode !== undefined && data.mode !== mode) continue;
      totals.acquisitions += data.acquisitions;
      totals.wait.add(data.wait);
      totals.hold.add(data.hold);
    }
  }
  return totals;
}
