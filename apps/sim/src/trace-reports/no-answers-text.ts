import { formatCount } from "../terminal/format-quantity.js";

/** Why a trace gives an empty heat map, and what would change that. */
export function noAnswersText(agingCalls: number, tdpMmu: boolean): string {
  if (agingCalls === 0)
    return "Nothing to draw: there are no aging calls (kvm_age_hva) in this part of the trace.";
  const advice = tdpMmu
    ? "record kvm_tdp_mmu_spte_changed too, or say with --slot where guest memory stands"
    : "without the TDP MMU only probes of kvm_age_gfn and of its return show that";
  return (
    `Nothing to draw: the ${formatCount(agingCalls)} aging calls show neither which guest frames they were about nor what the answers were; ` +
    `${advice}.`
  );
}
