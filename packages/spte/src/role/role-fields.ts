import type { PgLevel } from "../level/pg-level.js";
import type { RuleSet } from "../rules/rule-set.js";
import {
  type KvmMmuPageRole,
  type KvmMmuPageRoleFields,
  ROLE_ACCESS,
  ROLE_AD_DISABLED,
  ROLE_DIRECT,
  ROLE_GUEST_MODE,
  ROLE_HAS_4_BYTE_GPTE,
  ROLE_IS_MIRROR,
  ROLE_PASSTHROUGH,
  ROLE_QUADRANT,
  ROLE_SMM,
} from "./kvm-mmu-page-role.js";

function bit(role: KvmMmuPageRole, position: number | null): boolean {
  return position !== null && ((role >>> position) & 1) === 1;
}

/** Level of the table, bits 3:0. */
export function roleLevel(role: KvmMmuPageRole): PgLevel {
  return (role & 15) as PgLevel;
}

/** Access every entry below the table is limited to, in the rule set's access bits. */
export function roleAccess(rules: RuleSet, role: KvmMmuPageRole): number {
  return (role >>> ROLE_ACCESS) & ((1 << rules.role.accessWidth) - 1);
}

/** Whether the table maps guest-physical memory linearly, without guest page tables. */
export function roleDirect(role: KvmMmuPageRole): boolean {
  return bit(role, ROLE_DIRECT);
}

/** Whether the table is dead and must not be entered by anybody new. */
export function roleInvalid(rules: RuleSet, role: KvmMmuPageRole): boolean {
  return bit(role, rules.role.invalid);
}

/** Whether the table's entries have software A/D bits. */
export function roleAdDisabled(role: KvmMmuPageRole): boolean {
  return bit(role, ROLE_AD_DISABLED);
}

/** Whether the table serves a nested guest. */
export function roleGuestMode(role: KvmMmuPageRole): boolean {
  return bit(role, ROLE_GUEST_MODE);
}

/** System-management-mode field, 0 to 255; KVM uses 0 and 1. */
export function roleSmm(role: KvmMmuPageRole): number {
  return role >>> ROLE_SMM;
}

/** Address space of the table: 1 in system-management mode, else 0 (`kvm_mmu_role_as_id`). */
export function kvmMmuRoleAsId(role: KvmMmuPageRole): 0 | 1 {
  return roleSmm(role) !== 0 ? 1 : 0;
}

/** Unpacks every field; flags the rule set's word does not have are false. Inverse of `makeRole`. */
export function roleFields(rules: RuleSet, role: KvmMmuPageRole): KvmMmuPageRoleFields {
  return {
    level: roleLevel(role),
    has4ByteGpte: bit(role, ROLE_HAS_4_BYTE_GPTE),
    quadrant: (role >>> ROLE_QUADRANT) & 3,
    direct: roleDirect(role),
    access: roleAccess(rules, role),
    invalid: roleInvalid(rules, role),
    eferNx: bit(role, rules.role.eferNx),
    cr0Wp: bit(role, rules.role.cr0Wp),
    smepAndnotWp: bit(role, rules.role.smepAndnotWp),
    smapAndnotWp: bit(role, rules.role.smapAndnotWp),
    adDisabled: roleAdDisabled(role),
    guestMode: roleGuestMode(role),
    passthrough: bit(role, ROLE_PASSTHROUGH),
    isMirror: bit(role, ROLE_IS_MIRROR),
    cr4Smep: bit(role, rules.role.cr4Smep),
    smm: roleSmm(role),
  };
}
