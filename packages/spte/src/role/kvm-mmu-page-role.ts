import { InvalidRoleFieldError, UnknownRoleFieldError } from "../errors.js";
import type { PgLevel } from "../level/pg-level.js";
import type { RuleSet } from "../rules/rule-set.js";

declare const roleBrand: unique symbol;

/** Role word of a table page, an unsigned 32-bit number (`union kvm_mmu_page_role`). */
export type KvmMmuPageRole = number & { readonly [roleBrand]: "KvmMmuPageRole" };

/** The fields of a role word, with the kernel's names. */
export interface KvmMmuPageRoleFields {
  readonly level: PgLevel;
  readonly has4ByteGpte: boolean;
  /** Which quarter or half of a 32-bit guest's table is shadowed, 0 to 3. */
  readonly quadrant: number;
  readonly direct: boolean;
  /** Access bits of the rule set, 0 to `accAll`. */
  readonly access: number;
  readonly invalid: boolean;
  readonly eferNx: boolean;
  readonly cr0Wp: boolean;
  /** 6.15 only. */
  readonly smepAndnotWp: boolean;
  readonly smapAndnotWp: boolean;
  readonly adDisabled: boolean;
  readonly guestMode: boolean;
  readonly passthrough: boolean;
  readonly isMirror: boolean;
  /** 7.3 only: SMEP, EPT mode-based execute control or NPT guest-mode execute trap. */
  readonly cr4Smep: boolean;
  /** Address space: system-management mode when non-zero, 0 to 255. */
  readonly smm: number;
}

/** Bit positions that are the same in all kernels covered. */
export const ROLE_HAS_4_BYTE_GPTE = 4;
export const ROLE_QUADRANT = 5;
export const ROLE_DIRECT = 7;
export const ROLE_ACCESS = 8;
export const ROLE_AD_DISABLED = 16;
export const ROLE_GUEST_MODE = 17;
export const ROLE_PASSTHROUGH = 18;
export const ROLE_IS_MIRROR = 19;
export const ROLE_SMM = 24;

function checkRange(field: string, value: number, high: number): void {
  if (!Number.isInteger(value) || value < 0 || value > high)
    throw new InvalidRoleFieldError(field, value, high);
}

function flag(value: boolean | undefined, position: number): number {
  return value === true ? 1 << position : 0;
}

/** A flag whose position depends on the rule set, possibly without one. */
function movableFlag(
  rules: RuleSet,
  field: string,
  value: boolean | undefined,
  position: number | null,
): number {
  if (position !== null) return flag(value, position);
  if (value === true) throw new UnknownRoleFieldError(field, rules.name);
  return 0;
}

/** The flags that moved, or came or went, between rule sets. */
function movableBits(rules: RuleSet, fields: Partial<KvmMmuPageRoleFields>): number {
  const { role } = rules;
  return (
    flag(fields.invalid, role.invalid) |
    flag(fields.eferNx, role.eferNx) |
    flag(fields.cr0Wp, role.cr0Wp) |
    movableFlag(rules, "smepAndnotWp", fields.smepAndnotWp, role.smepAndnotWp) |
    movableFlag(rules, "smapAndnotWp", fields.smapAndnotWp, role.smapAndnotWp) |
    movableFlag(rules, "cr4Smep", fields.cr4Smep, role.cr4Smep)
  );
}

/** The flags that never moved. */
function fixedBits(fields: Partial<KvmMmuPageRoleFields>): number {
  return (
    flag(fields.has4ByteGpte, ROLE_HAS_4_BYTE_GPTE) |
    flag(fields.direct, ROLE_DIRECT) |
    flag(fields.adDisabled, ROLE_AD_DISABLED) |
    flag(fields.guestMode, ROLE_GUEST_MODE) |
    flag(fields.passthrough, ROLE_PASSTHROUGH) |
    flag(fields.isMirror, ROLE_IS_MIRROR)
  );
}

/**
 * Packs a role word. Fields left out are 0 or false.
 * @throws InvalidRoleFieldError when level is not in [0, 15], quadrant not in [0, 3], access not in
 *   [0, `accAll`] or smm not in [0, 255]
 * @throws UnknownRoleFieldError when a flag is set that the rule set's role word does not have
 */
export function makeRole(rules: RuleSet, fields: Partial<KvmMmuPageRoleFields>): KvmMmuPageRole {
  const { level = 0, quadrant = 0, access = 0, smm = 0 } = fields;
  checkRange("level", level, 15);
  checkRange("quadrant", quadrant, 3);
  checkRange("access", access, rules.accAll);
  checkRange("smm", smm, 255);
  const numbers = level | (quadrant << ROLE_QUADRANT) | (access << ROLE_ACCESS) | (smm << ROLE_SMM);
  return ((numbers | movableBits(rules, fields) | fixedBits(fields)) >>> 0) as KvmMmuPageRole;
}
