import type { Cpu } from "@kvm-age/machine";
import { roleLevel } from "@kvm-age/spte";
import { cpuRoleBase, type KvmCpuRole } from "../role/kvm-cpu-role.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import type { GuestFault } from "./guest-fault.js";
import { walkAddr } from "./walk-addr.js";

const PAGE_BYTES = 4096;

/**
 * `vcpu->arch.walk_mmu->gva_to_gpa`: what a linear address of the running guest translates to when KVM itself needs it, to emulate an
 * instruction or to read one. Unlike `gvaToGpa` it walks the guest's tables also where hardware does so for the guest's own accesses; those
 * of L2 under nested paging by way of L1's tables (`kvm_translate_gpa`). Sets A and D in all of them. Sleeps. Held: SRCU; never `mmu_lock`.
 *
 * @param addr in bytes, an integer in [0, 2^53)
 * @param access page-fault error code; W, U and F are looked at
 * @returns in bytes, as the slots know memory, or the fault that the guest or L1 would take; without paging `addr`
 */
export function walkMmuGvaToGpa(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  access: number,
): number | GuestFault {
  const nested = vcpu.current(cpu) === vcpu.guestMmu;
  const context = nested ? vcpu.nestedMmu : vcpu.rootMmu;
  const translate = (gpa: number, asWhat: number): number | GuestFault =>
    translateNestedGpa(mmu, cpu, vcpu, gpa, asWhat);
  const cpuRole = cpu.readOnce(context.cpuRoleWord) as KvmCpuRole;
  // `is_cr0_pg`: a guest without paging has a role without levels.
  const levels: number = roleLevel(cpuRoleBase(cpuRole));
  if (levels === 0) return nested ? translate(addr, access) : addr;
  const walk = walkAddr(mmu, cpu, vcpu, context, addr, access, nested ? translate : null);
  return walk.fault ?? walk.gfn * PAGE_BYTES + (addr % PAGE_BYTES);
}

/** `translate_nested_gpa`: an L2-physical address through L1's tables. */
function translateNestedGpa(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  gpa: number,
  access: number,
): number | GuestFault {
  const walk = walkAddr(mmu, cpu, vcpu, vcpu.guestMmu, gpa, access);
  return walk.fault ?? walk.gfn * PAGE_BYTES + (gpa % PAGE_BYTES);
}
