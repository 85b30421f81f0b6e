import type { AccessTrackingResult } from "../results/access-tracking-result.js";
import { hasTooManyIdle, tooManyIdleText } from "./access-tracking-lines.js";

/** The selftest's assertions on pages that stayed idle, and on pages that could not be found. */
export function accessTrackingFailedChecks(result: AccessTrackingResult): string[] {
  const noPfn = result.idleChecks
    .filter((check) => check.pages > 0 && check.noPfnPages >= check.pages / 100)
    .map((check) => `vCPU ${check.vcpu}: No PFN for ${check.noPfnPages} out of ${check.pages} pages.`);
  if (result.options.tooManyIdle === "warn") return noPfn;
  return [...noPfn, ...result.idleChecks.filter(hasTooManyIdle).map(tooManyIdleText)];
}
