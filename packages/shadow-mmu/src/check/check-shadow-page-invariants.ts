import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";
import {
  checkActivePages,
  checkHashedPages,
  checkInvalidPages,
  checkPossibleNxHugePages,
} from "./check-page-lists.js";
import { checkShadowAccounting } from "./check-shadow-accounting.js";
import { checkShadowLinks, checkUnsyncPages } from "./check-shadow-links.js";
import { takeShadowPageCensus } from "./shadow-page-census.js";

/**
 * Checks every invariant of shadow pages that can be seen at rest: nobody else may be running, and no operation under way.
 * The hash, the lists, generations, links in both directions, roles, unsync marks, and the counters against a census. What
 * leaves map is `checkShadowSpteInvariants`'s.
 *
 * @returns one sentence for each violation; empty if all is well
 */
export function checkShadowPageInvariants(mmu: ShadowMmu, cpu: Cpu): string[] {
  const census = takeShadowPageCensus(mmu, cpu);
  checkHashedPages(census);
  checkActivePages(census);
  checkInvalidPages(census);
  checkPossibleNxHugePages(census);
  checkShadowLinks(census);
  checkUnsyncPages(census);
  checkShadowAccounting(census);
  return census.violations;
}
