import type { Address, Cpu } from "@kvm-age/machine";
import { type Gfn, isLargePte, isShadowPresentPte, type Spte } from "@kvm-age/spte";
import { kvmMmuGetShadowPage } from "../hash/kvm-mmu-get-shadow-page.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { kvmMmuChildRole } from "./kvm-mmu-child-role.js";

/**
 * `kvm_mmu_get_child_sp`: the page for the entry at `sptep`, in a table above 4 KiB, to point to; null if the entry points
 * to a table already. Held: `mmu_lock` for write, and SRCU.
 *
 * @param gfn of the guest table, or for `direct` the first frame of the range
 * @param access limit of everything below
 */
export function kvmMmuGetChildSp(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  sptep: Address,
  gfn: Gfn,
  direct: boolean,
  access: number,
): KvmMmuPage | null {
  const spte = cpu.readOnce(sptep) as Spte;
  if (isShadowPresentPte(spte) && !isLargePte(spte)) return null;
  return kvmMmuGetShadowPage(mmu, cpu, vcpu, gfn, kvmMmuChildRole(mmu, cpu, sptep, direct, access));
}
