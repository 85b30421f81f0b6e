import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import { type Measure, machineMeasures, passMeasures } from "./measure.js";

/** Phases by name; a name that comes twice gets its turn. */
function phaseMeasures(result: AccessTrackingResult): Measure[] {
  const seen = new Map<string, number>();
  return result.phases.map((phase) => {
    const turn = (seen.get(phase.name) ?? 0) + 1;
    seen.set(phase.name, turn);
    const name = turn === 1 ? phase.name : `${phase.name} (${turn})`;
    return { name, unit: "s", better: "lower", headline: true, value: phase.seconds };
  });
}

function agingMeasures(result: AccessTrackingResult): Measure[] {
  const aging = result.agingDuringFaults;
  if (aging === null) return [];
  return [
    { name: "vcpu wall time", unit: "s", better: "lower", headline: true, value: aging.vcpuWallSeconds },
    ...passMeasures(aging),
  ];
}

/** The figures by which runs of `access-tracking` are compared. */
export function accessTrackingMeasures(result: AccessTrackingResult): Measure[] {
  return [
    ...(result.options.agingDuringFaults ? agingMeasures(result) : phaseMeasures(result)),
    ...machineMeasures(result, ["vcpu", "ager"]),
  ];
}
