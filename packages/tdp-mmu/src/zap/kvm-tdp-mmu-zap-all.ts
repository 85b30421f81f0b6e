import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import { tdpMmuNextRoot } from "../root/root-reference.js";
import { ANY_AS_ID, KVM_ALL_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuZapRoot } from "./tdp-mmu-zap-root.js";

/**
 * `kvm_tdp_mmu_zap_all`: empties every root, valid or not, when the owner's address space goes away. `mmu_lock` held for write.
 * No flush: the VM never runs again.
 */
export function kvmTdpMmuZapAll(mmu: TdpMmu, cpu: Cpu): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  let root = tdpMmuNextRoot(mmu, cpu, NULL_ADDRESS as KvmMmuPage, ANY_AS_ID, KVM_ALL_ROOTS);
  while (root !== NULL_ADDRESS) {
    tdpMmuZapRoot(mmu, cpu, root, false);
    root = tdpMmuNextRoot(mmu, cpu, root, ANY_AS_ID, KVM_ALL_ROOTS);
  }
}
