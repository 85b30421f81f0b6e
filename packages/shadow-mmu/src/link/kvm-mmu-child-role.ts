import type { Address, Cpu } from "@kvm-age/machine";
import { type KvmMmuPageRole, type PgLevel, roleLevel, withRoleAccess, withRoleLevel } from "@kvm-age/spte";
import { spRole } from "../page/kvm-mmu-page.js";
import { withRoleDirect } from "../page/shadow-role.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/**
 * `kvm_mmu_child_role`: role of the page that the entry at `sptep` is to point to: its own page's, one level lower.
 *
 * @param access limit of everything below, in the rule set's access bits
 */
export function kvmMmuChildRole(
  mmu: ShadowMmu,
  cpu: Cpu,
  sptep: Address,
  direct: boolean,
  access: number,
): KvmMmuPageRole {
  const parent = spRole(cpu, sptepToSp(mmu, cpu, sptep));
  const lower = withRoleLevel(parent, (roleLevel(parent) - 1) as PgLevel);
  return withRoleDirect(withRoleAccess(mmu.format.rules, lower, access), direct);
}
