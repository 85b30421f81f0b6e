import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

/** A distribution of durations in nanoseconds; all 0 when nothing was recorded. */
export interface DurationFigures {
  readonly count: number;
  readonly meanNs: number;
  readonly p50Ns: number;
  readonly p90Ns: number;
  readonly p99Ns: number;
  /** Exact. */
  readonly maxNs: number;
}

/** Longest duration that is told apart: a week. Longer ones count as this long. */
const LONGEST_NS = 7 * 24 * 3600e9;

/** Records durations in logarithmic buckets of three significant digits. */
export class Durations {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: LONGEST_NS, figures: 3 });
  #totalNs = 0;
  #maxNs = 0;
  #count = 0;

  /** Records one duration; a negative one (clocks of two processors that disagree) counts as 0. */
  record(ns: number): void {
    const duration = Math.min(LONGEST_NS, Math.max(0, Math.round(ns)));
    this.#histogram.record(Math.max(1, duration));
    this.#totalNs += duration;
    this.#maxNs = Math.max(this.#maxNs, duration);
    this.#count++;
  }

  /** The histogram cannot hold 0, which counts as 1 in it. */
  #percentile(percent: number): number {
    const ns = Math.min(this.#histogram.percentile(percent), this.#maxNs);
    return ns === 1 ? 0 : ns;
  }

  get figures(): DurationFigures {
    if (this.#count === 0) return { count: 0, meanNs: 0, p50Ns: 0, p90Ns: 0, p99Ns: 0, maxNs: 0 };
    return {
      count: this.#count,
      meanNs: this.#totalNs / this.#count,
      p50Ns: this.#percentile(50),
      p90Ns: this.#percentile(90),
      p99Ns: this.#percentile(99),
      maxNs: this.#maxNs,
    };
  }
}
