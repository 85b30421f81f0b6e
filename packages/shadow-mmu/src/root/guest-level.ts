import type { Cpu } from "@kvm-age/machine";
import { roleLevel } from "@kvm-age/spte";
import { cpuRoleBase, type KvmCpuRole } from "../role/kvm-cpu-role.js";
import type { KvmMmu } from "../vcpu/kvm-mmu.js";

/** `cpu_role.base.level`: levels of the guest structures that a context shadows, 0 with guest paging off. */
export function guestLevel(cpu: Cpu, context: KvmMmu): number {
  return roleLevel(cpuRoleBase(cpu.readOnce(context.cpuRoleWord) as KvmCpuRole));
}
