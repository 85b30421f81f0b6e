import type { SpteFormat } from "../format/spte-format.js";
import type { PgLevel } from "../level/pg-level.js";
import { type KvmMmuPageRole, makeRole } from "./kvm-mmu-page-role.js";

/** What varies between the roots of a TDP MMU. */
export interface TdpRootRoleInput {
  /** Level of the root, 4 or 5. */
  readonly level: PgLevel;
  /** System-management mode: the second address space. Default false. */
  readonly smm?: boolean;
  /** A nested guest without nested two-dimensional paging runs on it. Default false. */
  readonly guestMode?: boolean;
}

/**
 * Role of a TDP MMU root (`kvm_calc_tdp_mmu_root_page_role`). Access is everything, less USER under AMD's
 * guest-mode execute trap, where pages the guest kernel executes must not be user pages.
 * @throws InvalidRoleFieldError when the level is not in [0, 15]
 */
export function kvmCalcTdpMmuRootPageRole(format: SpteFormat, input: TdpRootRoleInput): KvmMmuPageRole {
  const { rules, executeControl } = format;
  const executeTrap = executeControl && format.mode === "npt";
  return makeRole(rules, {
    level: input.level,
    direct: true,
    access: executeTrap ? rules.accAll & ~rules.accUserMask : rules.accAll,
    eferNx: true,
    cr0Wp: true,
    adDisabled: !format.kvmAdEnabled,
    guestMode: input.guestMode === true,
    cr4Smep: executeControl,
    smm: input.smm === true ? 1 : 0,
  });
}
