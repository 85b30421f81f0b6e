import type { Actor } from "../actor.js";
import type { ReclaimReport } from "../protocol.js";

/** Folios tried per tick at most, for each page over the limit: the scan gives up like kswapd at its priority. */
const TRIES_PER_PAGE = 4;

/** kswapd with a cadence: every `ms` brings the pages in use down to the limit, one folio at a time. */
export function reclaimEvery(actor: Actor, step: number, ms: number): ReclaimReport {
  const { cpu, vm } = actor;
  const report = { reclaimedPages: 0, keptYoung: 0, swappedOutPages: 0 };
  while (!actor.control.isOver(step)) {
    const excess = vm.hostMm.counts(cpu).takenPages - vm.config.memoryLimitPages;
    for (let tries = excess * TRIES_PER_PAGE; tries > 0 && vm.hostMm.overLimit(cpu); tries--) {
      if (actor.control.isOver(step)) break;
      const outcome = vm.hostMm.shrinkOneFolio(cpu);
      if (outcome.result === "reclaimed") report.reclaimedPages++;
      if (outcome.result === "activated" || outcome.result === "kept-referenced") report.keptYoung++;
      if (outcome.swappedOut) report.swappedOutPages++;
      if (outcome.result === "empty") break;
    }
    actor.control.sleep(ms, step);
  }
  return report;
}
