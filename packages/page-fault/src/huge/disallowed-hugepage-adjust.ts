import { kvmPagesPerHpage, type Pfn, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";

/**
 * `disallowed_hugepage_adjust`: if the entry at the goal level already points to a table that exists for the NX mitigation, maps
 * one level lower instead of replacing the table by a huge page that the next fetch would split again.
 *
 * @param level of the entry
 * @param isNxDisallowedTable whether the entry points to a table that is marked `nx_huge_page_disallowed`
 */
export function disallowedHugepageAdjust(
  fault: KvmPageFault,
  level: PgLevel,
  isNxDisallowedTable: boolean,
): void {
  if (level <= PG_LEVEL_4K || level !== fault.goalLevel || !isNxDisallowedTable) return;
  const lower = (level - 1) as PgLevel;
  // The frame of the lower page inside the huge one: the gfn bits between the two levels.
  const inside = (fault.gfn % kvmPagesPerHpage(level)) - (fault.gfn % kvmPagesPerHpage(lower));
  fault.pfn = (fault.pfn + inside) as Pfn;
  fault.goalLevel = lower;
}
