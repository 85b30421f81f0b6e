import type { MmuOptions } from "../options/mmu-options.js";

/** What the layers for checking do to the times of a run; none without them. */
export function checkingWarnings({ lockdep, sanitizer }: MmuOptions): string[] {
  if (!lockdep && !sanitizer) return [];
  return ["checking layers are on: times are not comparable with a run without them"];
}
