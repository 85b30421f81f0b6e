import type { Address, Cpu } from "@kvm-age/machine";
import { isLargePte, isShadowPresentPte, roleAccess, type Spte } from "@kvm-age/spte";
import { flushRemoteTlbsSptep } from "../flush/flush-remote-tlbs-sptep.js";
import { spRole } from "../page/kvm-mmu-page.js";
import { spteToChildSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { dropParentPte } from "./drop-parent-pte.js";

/**
 * `validate_direct_spte`: below a huge page of the guest, tables are direct, and their access is that of the guest's entry
 * when they were linked. If the guest has changed it since, without a flush that told KVM, the link at `sptep` is dropped,
 * and flushed. Held: `mmu_lock` for write.
 *
 * @param directAccess what the guest's entry allows now
 */
export function validateDirectSpte(
  mmu: ShadowMmu,
  cpu: Cpu,
  _vcpu: ShadowMmuVcpu,
  sptep: Address,
  directAccess: number,
): void {
  const spte = cpu.readOnce(sptep) as Spte;
  if (!isShadowPresentPte(spte) || isLargePte(spte)) return;
  const child = spteToChildSp(mmu, cpu, spte);
  if (roleAccess(mmu.format.rules, spRole(cpu, child)) === directAccess) return;
  dropParentPte(mmu, cpu, child, sptep);
  flushRemoteTlbsSptep(mmu, cpu, sptep);
}
