import type { KvmMmuPageRole, RuleSet } from "@kvm-age/spte";

declare const cpuRoleBrand: unique symbol;

/**
 * How a context's guest structures are read, an unsigned 64-bit word (`union kvm_cpu_role`): a role word in bits 31:0, the
 * extended word in bits 63:32. 0 is a context that is not set up.
 */
export type KvmCpuRole = bigint & { readonly [cpuRoleBrand]: "KvmCpuRole" };

/** The extended word (`union kvm_mmu_extended_role`). A rule set packs those flags that it has; the others read as false. */
export interface KvmMmuExtendedRole {
  readonly valid: boolean;
  /** Execute-only entries are legal (EPT). */
  readonly execonly: boolean;
  readonly cr4Pse: boolean;
  readonly cr4Pke: boolean;
  readonly cr4Smap: boolean;
  /** 6.15; 7.3 has it in the role word. */
  readonly cr4Smep: boolean;
  readonly cr4La57: boolean;
  readonly eferLma: boolean;
  /** 7.3: a page-fault error code tells a fetch from a read (EFER.NX or CR4.SMEP). */
  readonly hasPferrFetch: boolean;
}

type Flag = keyof KvmMmuExtendedRole;

/** Flags from bit 0 where SMEP is an extended flag (6.15). */
const WITH_SMEP: readonly Flag[] = [
  "valid",
  "execonly",
  "cr4Pse",
  "cr4Pke",
  "cr4Smap",
  "cr4Smep",
  "cr4La57",
  "eferLma",
];

/** Flags from bit 0 where SMEP is a flag of the role word (7.3). */
const WITHOUT_SMEP: readonly Flag[] = [
  "valid",
  "execonly",
  "cr4Pse",
  "cr4Pke",
  "cr4Smap",
  "cr4La57",
  "eferLma",
  "hasPferrFetch",
];

function extendedFlags(rules: RuleSet): readonly Flag[] {
  return rules.role.cr4Smep === null ? WITH_SMEP : WITHOUT_SMEP;
}

/** Packs a CPU role. Flags that the rule set's extended word does not have are dropped; flags left out are false. */
export function makeCpuRole(
  rules: RuleSet,
  base: KvmMmuPageRole,
  extended: Partial<KvmMmuExtendedRole>,
): KvmCpuRole {
  let word = 0;
  for (const [position, flag] of extendedFlags(rules).entries()) {
    if (extended[flag] === true) word |= 1 << position;
  }
  return ((BigInt(word) << 32n) | BigInt(base)) as KvmCpuRole;
}

/** The role word of a CPU role. */
export function cpuRoleBase(role: KvmCpuRole): KvmMmuPageRole {
  return Number(BigInt.asUintN(32, role)) as KvmMmuPageRole;
}

/** Unpacks the extended word. */
export function cpuRoleExtended(rules: RuleSet, role: KvmCpuRole): KvmMmuExtendedRole {
  const word = Number(BigInt.asUintN(64, role) >> 32n);
  const flags = extendedFlags(rules);
  const isSet = (flag: Flag): boolean => {
    const position = flags.indexOf(flag);
    return position >= 0 && ((word >>> position) & 1) === 1;
  };
  return {
    valid: isSet("valid"),
    execonly: isSet("execonly"),
    cr4Pse: isSet("cr4Pse"),
    cr4Pke: isSet("cr4Pke"),
    cr4Smap: isSet("cr4Smap"),
    cr4Smep: isSet("cr4Smep"),
    cr4La57: isSet("cr4La57"),
    eferLma: isSet("eferLma"),
    hasPferrFetch: isSet("hasPferrFetch"),
  };
}
