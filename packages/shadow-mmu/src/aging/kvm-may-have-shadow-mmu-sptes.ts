import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";

/**
 * `kvm_may_have_shadow_mmu_sptes`: whether aging must look into the rmaps. With the TDP MMU every leaf in one hangs below a table of
 * L1's that is shadowed; without any, there is nothing that hardware could use.
 *
 * A plain read. A count that becomes 1 right after it belongs to mappings younger than the question. A count that is not 0 means that
 * the active slots have rmaps: they are published before the first shadow root, which comes before the first count (a processor with weak
 * order needs an acquire here to see that; x86 does not). A slot that an update has replaced since may have none.
 */
export function kvmMayHaveShadowMmuSptes(mmu: ShadowMmu, cpu: Cpu): boolean {
  return !mmu.memslots.options.tdpMmuEnabled || cpu.readOnce32(mmu.indirectShadowPagesWord) !== 0;
}
