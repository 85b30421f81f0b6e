import { build, type JsHistogram } from "hdr-histogram-js";

/** Significant decimal digits that a recorded duration keeps. */
export const HISTOGRAM_DIGITS = 3;

/** A distribution of durations as plain data. */
export interface DurationData {
  readonly count: number;
  /** Exact sum, in nanoseconds. */
  readonly totalNs: number;
  /** Exact largest, in nanoseconds; 0 if there is none. */
  readonly maxNs: number;
  /** `[lowest duration of the bucket in nanoseconds, count]`, ascending, none empty. */
  readonly buckets: readonly (readonly [ns: number, count: number])[];
}

/** A distribution of durations in nanoseconds, in logarithmic buckets of `HISTOGRAM_DIGITS` significant digits. */
export class DurationHistogram {
  private readonly histogram = build({
    bitBucketSize: 32,
    autoResize: true,
    numberOfSignificantValueDigits: HISTOGRAM_DIGITS,
  }) as JsHistogram;
  private totalNs = 0;
  private maxNs = 0;

  get count(): number {
    return this.histogram.totalCount;
  }

  /** Records one duration; a negative one (a clock that went back) counts as 0. */
  record(ns: number): void {
    const duration = Math.max(0, Math.round(ns));
    this.histogram.recordValue(duration);
    this.totalNs += duration;
    this.maxNs = Math.max(this.maxNs, duration);
  }

  /** Adds a distribution that was recorded elsewhere. */
  add(data: DurationData): void {
    for (const [ns, count] of data.buckets) this.histogram.recordValueWithCount(ns, count);
    this.totalNs += data.totalNs;
    this.maxNs = Math.max(this.maxNs, data.maxNs);
  }

  /**
   * The duration that `percentile` percent of all are no longer than, in nanoseconds, to the histogram's precision and never
   * above the exact maximum; 0 if nothing was recorded.
   */
  percentileNs(percentile: number): number {
    if (this.count === 0) return 0;
    return Math.min(this.histogram.getValueAtPercentile(percentile), this.maxNs);
  }

  toData(): DurationData {
    const { histogram, count, totalNs, maxNs } = this;
    const buckets: [number, number][] = [];
    for (let index = 0; index < histogram.countsArrayLength; index++) {
      const inBucket = histogram.getCountAtIndex(index);
      if (inBucket > 0) buckets.push([histogram.valueFromIndex(index), inBucket]);
    }
    return { count, totalNs, maxNs, buckets };
  }
}
