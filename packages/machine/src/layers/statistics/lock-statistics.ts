import { type DurationData, DurationHistogram } from "./duration-histogram.js";

/**
 * How a lock was taken: shared, exclusively, without waiting (`spin_trylock`), announced to lockdep by its owner
 * (`annotated`), or waited for as a grace period.
 */
export type LockMode = "read" | "write" | "try" | "annotated" | "synchronize";

/** What happened to one lock class in one mode, as plain data. */
export interface LockStatisticsData {
  readonly lockClass: string;
  readonly mode: LockMode;
  readonly acquisitions: number;
  /** From the call until the lock was held; of a grace period, its length. Empty for `try` and `annotated`. */
  readonly wait: DurationData;
  /** From acquisition to release. Empty for `synchronize`; unfinished holds are not in it. */
  readonly hold: DurationData;
}

/** The same while it is being collected. */
export class LockStatistics {
  acquisitions = 0;
  readonly wait: DurationHistogram = new DurationHistogram();
  readonly hold: DurationHistogram = new DurationHistogram();

  constructor(
    readonly lockClass: string,
    readonly mode: LockMode,
  ) {}

  add(data: LockStatisticsData): void {
    this.acquisitions += data.acquisitions;
    this.wait.add(data.wait);
    this.hold.add(data.hold);
  }

  toData(): LockStatisticsData {
    const { lockClass, mode, acquisitions } = this;
    return { lockClass, mode, acquisitions, wait: this.wait.toData(), hold: this.hold.toData() };
  }
}

/** The statistics of all lock classes, by class and mode. */
export class LockStatisticsTable {
  private readonly rows = new Map<string, LockStatistics>();

  row(lockClass: string, mode: LockMode): LockStatistics {
    const key = `${mode} ${lockClass}`;
    let row = this.rows.get(key);
    if (row === undefined) {
      row = new LockStatistics(lockClass, mode);
      this.rows.set(key, row);
    }
    return row;
  }

  toData(): LockStatisticsData[] {
    return [...this.rows.values()].map((row) => row.toData());
  }
}
