import type { MmuStressResult } from "../results/mmu-stress-result.js";
import { type Measure, machineMeasures, passMeasures } from "./measure.js";

/** The figures by which runs of `mmu-stress` are compared. */
export function mmuStressMeasures(result: MmuStressResult): Measure[] {
  const timed = result.rendezvous.filter(({ name }) => name !== "spawning");
  return [
    ...timed.map(({ name, seconds: value }): Measure => {
      return { name, unit: "s", better: "lower", headline: true, value };
    }),
    ...(result.aging === null ? [] : passMeasures(result.aging)),
    ...machineMeasures(result, ["vcpu", "vmm", ...(result.aging === null ? [] : ["ager"])]),
  ];
}
