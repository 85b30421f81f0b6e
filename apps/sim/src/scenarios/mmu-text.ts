import type { MmuOptions } from "../options/mmu-options.js";

function mapping({ mmu, mmuMode }: MmuOptions): string {
  if (mmu === "tdp") return `TDP MMU, ${mmuMode}`;
  if (mmu === "direct") return `shadow MMU, direct (tdp_mmu=N), ${mmuMode}`;
  if (mmu === "shadow") return "shadow paging of the guest's own tables";
  return `TDP MMU for L1, shadowed ${mmuMode} tables for L2`;
}

/** What maps a guest's memory, by which rules, for the line "MMU". */
export function mmuText(options: MmuOptions): string {
  return `${mapping(options)}, A/D bits ${options.adBits ? "on" : "off"}, ${options.ruleSet}`;
}
