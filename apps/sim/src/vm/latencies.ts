import { type DurationData, DurationHistogram } from "@kvm-age/machine";

/** Times that one thread measures around whole operations. */
export class Latencies {
  readonly fault: DurationHistogram = new DurationHistogram();
  readonly invalidation: DurationHistogram = new DurationHistogram();

  toData(): LatencyData {
    return { fault: this.fault.toData(), invalidation: this.invalidation.toData() };
  }
}

/** The same as plain data. */
export interface LatencyData {
  readonly fault: DurationData;
  readonly invalidation: DurationData;
}

/** Nanoseconds of a clock that never goes back. */
export function nowNs(): number {
  return performance.now() * 1e6;
}
