import { makeRole, type RuleSet } from "@kvm-age/spte";
import { type KvmCpuRole, makeCpuRole } from "./kvm-cpu-role.js";

/** What L1 chose for the EPT tables of its guest. */
export interface ShadowEptMode {
  /** Levels, 4 or 5. */
  readonly level: 4 | 5;
  /** EPTP bit 6: the tables' A and D bits are maintained. */
  readonly accessedDirty: boolean;
  /** Execute-only entries are legal: L1's EPT capability. */
  readonly executeOnly: boolean;
  /** Mode-based execute control: bit 10 allows user-mode execution. 7.3 only. */
  readonly modeBasedExecute: boolean;
}

/**
 * `kvm_calc_shadow_ept_root_page_role`: CPU role, and in its low half root role, of a context that shadows L1's EPT. CR0, CR4 and
 * EFER play no part, and system-management mode does not nest.
 */
export function kvmCalcShadowEptRootPageRole(rules: RuleSet, mode: ShadowEptMode): KvmCpuRole {
  const base = makeRole(rules, {
    level: mode.level,
    access: rules.accAll,
    adDisabled: !mode.accessedDirty,
    guestMode: true,
    cr4Smep: mode.modeBasedExecute,
  });
  return makeCpuRole(rules, base, { valid: true, execonly: mode.executeOnly });
}
