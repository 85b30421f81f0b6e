import type { TraceIdentity } from "@kvm-age/trace";

const MODE_WORDS = {
  ept: "EPT",
  npt: "NPT",
  shadow: "shadow paging",
} as const;

/** Kernel and MMU in a few words: `linux-7.3, EPT without A/D bits, TDP MMU`. */
export function identityText({
  kernel,
  mode,
  adBits,
  tdpMmu,
}: Pick<TraceIdentity, "kernel" | "mode" | "adBits" | "tdpMmu">): string {
  const paging = `${MODE_WORDS[mode]}${adBits ? "" : " without A/D bits"}`;
  if (mode === "shadow") return `${kernel}, ${paging}`;
  return `${kernel}, ${paging}, ${tdpMmu ? "TDP MMU" : "shadow MMU (kvm.tdp_mmu=N)"}`;
}
