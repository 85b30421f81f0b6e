import type { AccessKind } from "../access-observing-cpu.js";
import { type LockMode, LockStatisticsTable } from "./lock-statistics.js";
import type { StatisticsSnapshot } from "./statistics-snapshot.js";

/** A clock: nanoseconds from any fixed point. */
export type NanosecondClock = () => number;

/** What is counted besides accesses. */
export type EventKind = "callRcu" | "flushRemoteTlbs" | "relax" | "trace";

/** Who collects, and by which clock. */
export interface StatisticsInit {
  /** By whom: "vcpu", "ager", "reclaimer". Snapshots of one role are merged. */
  readonly role: string;
  /** @default `performance.now()` in nanoseconds */
  readonly nowNs?: NanosecondClock;
}

interface OpenHold {
  readonly lockClass: string;
  readonly address: number;
  readonly mode: LockMode;
  readonly sinceNs: number;
}

const performanceClock: NanosecondClock = () => performance.now() * 1e6;

/** Collects the statistics of one processor. */
export class StatisticsRecorder {
  readonly role: string;
  readonly nowNs: NanosecondClock;
  private readonly accesses = new Map<AccessKind, number>();
  private readonly words = new Map<AccessKind, number>();
  private readonly events = new Map<EventKind, number>();
  private readonly locks = new LockStatisticsTable();
  private readonly holds: OpenHold[] = [];

  constructor(init: StatisticsInit) {
    this.role = init.role;
    this.nowNs = init.nowNs ?? performanceClock;
  }

  countAccess(kind: AccessKind, words: number): void {
    this.accesses.set(kind, (this.accesses.get(kind) ?? 0) + 1);
    this.words.set(kind, (this.words.get(kind) ?? 0) + words);
  }

  countEvent(kind: EventKind): void {
    this.events.set(kind, (this.events.get(kind) ?? 0) + 1);
  }

  /** A lock was taken just now; it was asked for at `askedNs`, or nobody knows when (null). */
  acquired(lockClass: string, address: number, mode: LockMode, askedNs: number | null): void {
    const row = this.locks.row(lockClass, mode);
    const sinceNs = this.nowNs();
    row.acquisitions++;
    if (askedNs !== null) row.wait.record(sinceNs - askedNs);
    this.holds.push({ lockClass, address, mode, sinceNs });
  }

  /** The newest hold of the lock ended at `releasedNs`. One that began before this recorder did is not counted. */
  released(lockClass: string, address: number, releasedNs: number): void {
    const index = this.holds.findLastIndex(
      (hold) => hold.address === address && hold.lockClass === lockClass,
    );
    if (index < 0) return;
    const [hold] = this.holds.splice(index, 1);
    this.locks.row(lockClass, hold!.mode).hold.record(releasedNs - hold!.sinceNs);
  }

  /** A grace period that was asked for at `askedNs` ended just now. */
  synchronized(lockClass: string, askedNs: number): void {
    const row = this.locks.row(lockClass, "synchronize");
    row.acquisitions++;
    row.wait.record(this.nowNs() - askedNs);
  }

  /** Everything collected so far, as plain data. */
  snapshot(): StatisticsSnapshot {
    return {
      role: this.role,
      accesses: Object.fromEntries(this.accesses),
      words: Object.fromEntries(this.words),
      events: Object.fromEntries(this.events),
      locks: this.locks.toData(),
    };
  }
}
