import type { NestedResult } from "../results/nested-result.js";
import { type Measure, machineMeasures, passMeasures } from "./measure.js";

/** The figures by which runs of `nested` are compared: of the part in which vCPUs and ager run at the same time. */
export function nestedMeasures(result: NestedResult): Measure[] {
  const { alternation } = result;
  return [
    { name: "L1 and L2 in turns", unit: "s", better: "lower", headline: true, value: alternation.seconds },
    ...passMeasures(alternation),
    ...machineMeasures(result, ["vcpu", "ager"]),
  ];
}
