/** One line of the bench: a figure beside the baseline that was measured in the same run. */
export interface BenchRow {
  readonly name: string;
  readonly figure: string;
  readonly baseline: string;
  /** Figure relative to baseline, or empty if the baseline is not of the same kind. */
  readonly ratio: string;
  /** What the project set out to reach. */
  readonly aim: string;
}

/** `value` nanoseconds with two significant decimals where they mean something. */
export function nanoseconds(value: number): string {
  return value < 10 ? `${value.toFixed(2)} ns` : `${value.toFixed(0)} ns`;
}

/** `value` relative to `baseline`. */
export function ratio(value: number, baseline: number): string {
  return `${(value / baseline).toFixed(2)}×`;
}

/** A rate in millions or thousands a second. */
export function perSecond(count: number, ns: number): string {
  const rate = (count / ns) * 1e9;
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(2)} M/s` : `${(rate / 1e3).toFixed(0)} k/s`;
}
