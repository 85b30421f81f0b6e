import type { Address, Cpu } from "@kvm-age/machine";
import { roleDirect, roleLevel } from "@kvm-age/spte";
import { spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { flushRemoteTlbsGfn } from "./flush-remote-tlbs-gfn.js";

/**
 * `kvm_flush_remote_tlbs_sptep`: drops every cached translation through the entry at `sptep`, a link to a table or a huge
 * page. In a table that shadows one of the guest's, what lies below a link is no range of guest frames: everything is
 * flushed. The kernel asks for the range that the entry would map as a leaf, which no processor narrows the flush to.
 */
export function flushRemoteTlbsSptep(mmu: ShadowMmu, cpu: Cpu, sptep: Address): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  const role = spRole(cpu, sp);
  if (!roleDirect(role)) {
    cpu.flushRemoteTlbs(mmu.flushDomain, null);
    return;
  }
  flushRemoteTlbsGfn(mmu, cpu, kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(sptep)), roleLevel(role));
}
