import type { ReplayResult } from "../results/replay-result.js";
import { type Measure, machineMeasures } from "./measure.js";

/** The figures by which runs of `replay` are compared. */
export function replayMeasures(result: ReplayResult): Measure[] {
  const { passSeconds, passes } = result.aging;
  const slowest = Math.max(0, ...result.vcpus.map((vcpu) => vcpu.seconds));
  const pass: Measure = {
    name: "aging pass p50",
    unit: "s",
    better: "lower",
    headline: true,
    value: passSeconds.p50,
  };
  const share = result.accuracy.wronglyIdleShare;
  return [
    { name: "replay time", unit: "s", better: "lower", headline: true, value: slowest },
    { name: "aging passes", unit: "count", better: "higher", headline: false, value: passes },
    ...(passes === 0 ? [] : [pass]),
    ...machineMeasures(result, ["vcpu", "ager", "reclaimer"]),
    { name: "refaults", unit: "count", better: "lower", headline: false, value: result.refaults },
    { name: "wrongly called idle", unit: "share", better: "lower", headline: false, value: share },
  ];
}
