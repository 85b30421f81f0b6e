import { InvalidRoleFieldError } from "../errors.js";
import type { PgLevel } from "../level/pg-level.js";
import type { RuleSet } from "../rules/rule-set.js";
import { type KvmMmuPageRole, ROLE_ACCESS } from "./kvm-mmu-page-role.js";

/** The role with another level, e.g. that of a child table. */
export function withRoleLevel(role: KvmMmuPageRole, level: PgLevel): KvmMmuPageRole {
  return (((role & ~15) | level) >>> 0) as KvmMmuPageRole;
}

/**
 * The role with other access bits.
 * @throws InvalidRoleFieldError when `access` is not an integer in [0, `accAll`]
 */
export function withRoleAccess(rules: RuleSet, role: KvmMmuPageRole, access: number): KvmMmuPageRole {
  if (!Number.isInteger(access) || access < 0 || access > rules.accAll) {
    throw new InvalidRoleFieldError("access", access, rules.accAll);
  }
  const field = ((1 << rules.role.accessWidth) - 1) << ROLE_ACCESS;
  return (((role & ~field) | (access << ROLE_ACCESS)) >>> 0) as KvmMmuPageRole;
}

/** The role with the invalid bit set or cleared. */
export function withRoleInvalid(rules: RuleSet, role: KvmMmuPageRole, invalid: boolean): KvmMmuPageRole {
  const bit = 1 << rules.role.invalid;
  return ((invalid ? role | bit : role & ~bit) >>> 0) as KvmMmuPageRole;
}
