import type { Actor } from "../../actor.js";
import { Random } from "./random.js";

/** How a reclaimer did. */
export interface TortureReclaimerReport {
  readonly reclaimed: number;
  readonly splits: number;
}

/** Reclaims whatever it can get, wanted or not, so that pages go through swap all the time. */
export function tortureReclaimer(actor: Actor, step: number, seed: number): TortureReclaimerReport {
  const { cpu, vm } = actor;
  const random = new Random(seed);
  const report = { reclaimed: 0, splits: 0 };
  while (!actor.control.isOver(step)) {
    if (vm.hostMm.shrinkOneFolio(cpu).result === "reclaimed") report.reclaimed++;
    if (random.oneIn(64)) vm.hostMm.lruAddDrainAll(cpu);
    if (vm.config.hugePages && random.oneIn(256)) {
      if (vm.hostMm.splitHugePmd(cpu, vm.hvaOf(random.below(vm.config.guestPages)))) report.splits++;
    }
  }
  return report;
}
