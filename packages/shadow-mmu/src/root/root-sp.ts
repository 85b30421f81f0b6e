import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type KvmMmuPage, NO_PAGE } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";

/**
 * `root_to_sp`: the page whose table is the frame `rootHpa`; `NO_PAGE` for no root, the dummy root and three-level roots,
 * which have none.
 */
export function rootHpaToSp(mmu: ShadowMmu, cpu: Cpu, rootHpa: Address): KvmMmuPage {
  return rootHpa === NULL_ADDRESS ? NO_PAGE : sptepToSp(mmu, cpu, rootHpa);
}

/** The page of the context's current root, `NO_PAGE` if it has none. */
export function rootSp(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): KvmMmuPage {
  return rootHpaToSp(mmu, cpu, context.rootHpa(cpu));
}
