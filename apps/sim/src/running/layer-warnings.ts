import type { MmuOptions } from "../options/mmu-options.js";
import type { RunContext } from "../terminal/run-context.js";

/** What the layers for checking and recording do to the times of a run; none without them. */
export function layerWarnings({ lockdep, sanitizer }: MmuOptions, { recording }: RunContext): string[] {
  const warnings: string[] = [];
  if (lockdep || sanitizer) {
    warnings.push("checking layers are on: times are not comparable with a run without them");
  }
  if (recording !== undefined) {
    warnings.push("events are being recorded: times are not comparable with a run that is not");
  }
  return warnings;
}
