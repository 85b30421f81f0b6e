import {
  type KvmMmuPageRole,
  makeRole,
  type PgLevel,
  PT32E_ROOT_LEVEL,
  type RuleSet,
  roleFields,
} from "@kvm-age/spte";
import { cpuRoleBase, type KvmCpuRole } from "./kvm-cpu-role.js";

/**
 * Role of the roots that shadow a guest's own tables (`kvm_init_shadow_mmu`): the CPU role's, with three levels at least, since
 * hardware has no fewer, and with NX, which KVM keeps on under shadow paging. Direct while guest paging is off.
 */
export function kvmCalcShadowMmuRootPageRole(rules: RuleSet, cpuRole: KvmCpuRole): KvmMmuPageRole {
  const fields = roleFields(rules, cpuRoleBase(cpuRole));
  const level = Math.max(fields.level, PT32E_ROOT_LEVEL) as PgLevel;
  return makeRole(rules, { ...fields, level, eferNx: true });
}

/**
 * Role of the roots that shadow L1's nested page tables on AMD (`kvm_init_shadow_npt_mmu`): the CPU role's, with as many levels as
 * the host's tables have. `passthrough` if that is five and L1 has four: the host's top level then stands for no table of L1's.
 */
export function kvmCalcShadowNptRootPageRole(
  rules: RuleSet,
  cpuRole: KvmCpuRole,
  hostLevel: 4 | 5,
): KvmMmuPageRole {
  const fields = roleFields(rules, cpuRoleBase(cpuRole));
  return makeRole(rules, { ...fields, level: hostLevel, passthrough: hostLevel === 5 && fields.level === 4 });
}
