import type { Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { shrinkOneFolio } from "./shrink-one-folio.js";

/** How much to reclaim. */
export interface ReclaimRequest {
  /** Pages to free. */
  readonly target: number;
  /** Only folios that are marked idle. @default false */
  readonly onlyIdle?: boolean;
}

/** What a call of `reclaimPages` did, in folios. */
export interface ReclaimReport {
  reclaimed: number;
  /** Kept or made active because they were used. */
  keptYoung: number;
  /** Folios looked at. */
  scanned: number;
  /** Of those reclaimed or tried, the ones whose contents were written to swap. */
  swappedOut: number;
}

/**
 * `shrink_lruvec`: steps of `shrinkOneFolio` until `target` pages are free or every page on the lists has been looked at twice: once to
 * leave the active list, once at the end of the inactive one.
 */
export function reclaimPages(mm: MmStruct, cpu: Cpu, request: ReclaimRequest): ReclaimReport {
  mm.folioBatches.lruAddDrain(cpu);
  const report: ReclaimReport = { reclaimed: 0, keptYoung: 0, scanned: 0, swappedOut: 0 };
  const limit = 2 * (mm.lruvec.inactivePages(cpu) + mm.lruvec.activePages(cpu));
  const step = { onlyIdle: request.onlyIdle === true };
  while (report.reclaimed < request.target && report.scanned < limit) {
    const { result, swappedOut } = shrinkOneFolio(mm, cpu, step);
    if (result === "empty") break;
    report.scanned++;
    if (swappedOut) report.swappedOut++;
    if (result === "reclaimed") report.reclaimed++;
    if (result === "kept-referenced" || result === "activated") report.keptYoung++;
  }
  return report;
}
