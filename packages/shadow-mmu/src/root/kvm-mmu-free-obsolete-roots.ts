import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { isObsoleteSp } from "../page/is-obsolete-sp.js";
import { NO_PAGE } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { KVM_MMU_ROOT_CURRENT, kvmMmuFreeRoots, kvmMmuRootPrevious } from "./kvm-mmu-free-roots.js";
import { rootHpaToSp } from "./root-sp.js";

/** `is_obsolete_root`: a root without a page of its own counts as obsolete, since nobody can tell. */
function isObsoleteRoot(mmu: ShadowMmu, cpu: Cpu, rootHpa: Address): boolean {
  if (rootHpa === NULL_ADDRESS) return false;
  const sp = rootHpaToSp(mmu, cpu, rootHpa);
  return sp === NO_PAGE || isObsoleteSp(mmu, cpu, sp);
}

function obsoleteRoots(mmu: ShadowMmu, cpu: Cpu, context: KvmMmu): number {
  let roots = isObsoleteRoot(mmu, cpu, context.rootHpa(cpu)) ? KVM_MMU_ROOT_CURRENT : 0;
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    const rootHpa = cpu.readOnce32(context.previousRootHpaWord(index)) as Address;
    if (isObsoleteRoot(mmu, cpu, rootHpa)) roots |= kvmMmuRootPrevious(index);
  }
  return roots;
}

/** `kvm_mmu_free_obsolete_roots`: drops those roots of both contexts that were zapped. Held: SRCU, not `mmu_lock`. */
export function kvmMmuFreeObsoleteRoots(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu): void {
  for (const context of [vcpu.rootMmu, vcpu.guestMmu]) {
    kvmMmuFreeRoots(mmu, cpu, vcpu, context, obsoleteRoots(mmu, cpu, context));
  }
}
