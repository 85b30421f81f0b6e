import type { Address, Cpu } from "@kvm-age/machine";
import { type Gfn, type KvmMmuPageRole, type PgLevel, roleLevel, withRoleLevel } from "@kvm-age/spte";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceKvmMmuGetPage } from "../trace/trace-kvm-mmu-page.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { gfnWord, type KvmMmuPage, ptepWord, roleWord, spRole, sptWord } from "./kvm-mmu-page.js";

/** `tdp_mmu_alloc_sp`: a descriptor and a table of non-present entries out of the vCPU's caches. */
export function tdpMmuAllocSp(cpu: Cpu, vcpu: TdpMmuVcpu): KvmMmuPage {
  const sp = vcpu.pageHeaderCache.allocate(cpu) as KvmMmuPage;
  cpu.writeOnce32(sptWord(sp), vcpu.shadowPageCache.allocate(cpu));
  return sp;
}

/**
 * `tdp_mmu_init_sp`: fills in a new table, not reachable yet. The frame's private word leads back to the descriptor
 * (`sptep_to_sp`).
 */
export function tdpMmuInitSp(
  mmu: TdpMmu,
  cpu: Cpu,
  sp: KvmMmuPage,
  ptep: Address,
  gfn: Gfn,
  role: KvmMmuPageRole,
): void {
  mmu.frames.writePrivate(cpu, cpu.readOnce32(sptWord(sp)) as Address, sp);
  cpu.writeOnce32(roleWord(sp), role);
  cpu.writeOnce(gfnWord(sp), BigInt(gfn));
  cpu.writeOnce32(ptepWord(sp), ptep);
  if (cpu.tracing) traceKvmMmuGetPage(mmu, cpu, sp);
}

/** `tdp_mmu_init_child_sp`: a table one level below the entry `ptep`, with its parent's role. */
export function tdpMmuInitChildSp(mmu: TdpMmu, cpu: Cpu, child: KvmMmuPage, ptep: Address, gfn: Gfn): void {
  const parentRole = spRole(cpu, sptepToSp(mmu, cpu, ptep));
  const role = withRoleLevel(parentRole, (roleLevel(parentRole) - 1) as PgLevel);
  tdpMmuInitSp(mmu, cpu, child, ptep, gfn, role);
}

/** `sptep_to_sp`: the descriptor of the table that holds an entry. */
export function sptepToSp(mmu: TdpMmu, cpu: Cpu, sptep: Address): KvmMmuPage {
  return mmu.frames.readPrivate(cpu, sptep) as KvmMmuPage;
}
