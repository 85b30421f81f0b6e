import { makeRole, type PgLevel, type RuleSet } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { GuestPagingRegisters } from "./guest-paging-registers.js";
import { type KvmCpuRole, makeCpuRole } from "./kvm-cpu-role.js";

/** State of a vCPU, besides its registers, that its roles depend on. */
export interface CpuRoleState {
  /** System-management mode: the second address space. */
  readonly smm: boolean;
  /** L2 runs. */
  readonly guestMode: boolean;
}

const PT32_ROOT_LEVEL: PgLevel = 2;
const PT32E_ROOT_LEVEL: PgLevel = 3;

/** Levels of the guest's own tables, 2 … 5. */
function guestLevel(registers: GuestPagingRegisters): PgLevel {
  if (registers.eferLma) return registers.cr4La57 ? 5 : 4;
  return registers.cr4Pae ? PT32E_ROOT_LEVEL : PT32_ROOT_LEVEL;
}

/** SMEP and SMAP where the rule set's role word has them. */
function supervisorBits(rules: RuleSet, registers: GuestPagingRegisters): Parameters<typeof makeRole>[1] {
  const smapAndnotWp = registers.cr4Smap && !registers.cr0Wp;
  if (rules.role.cr4Smep !== null) return { smapAndnotWp, cr4Smep: registers.cr4Smep };
  return { smapAndnotWp, smepAndnotWp: registers.cr4Smep && !registers.cr0Wp };
}

/**
 * `kvm_calc_cpu_role`: the paging mode that the registers say. Without paging the role is direct and all else is 0. LA57 and
 * protection keys count in long mode only.
 */
export function kvmCalcCpuRole(
  mmu: ShadowMmu,
  registers: GuestPagingRegisters,
  state: CpuRoleState,
): KvmCpuRole {
  const { rules } = mmu.format;
  const common = { access: rules.accAll, smm: state.smm ? 1 : 0, guestMode: state.guestMode };
  if (!registers.cr0Pg) {
    return makeCpuRole(rules, makeRole(rules, { ...common, direct: true }), { valid: true });
  }
  const base = makeRole(rules, {
    ...common,
    ...supervisorBits(rules, registers),
    level: guestLevel(registers),
    has4ByteGpte: !registers.cr4Pae,
    eferNx: registers.eferNx,
    cr0Wp: registers.cr0Wp,
  });
  return makeCpuRole(rules, base, {
    valid: true,
    cr4Pse: registers.cr4Pse,
    cr4Pke: registers.eferLma && registers.cr4Pke,
    cr4Smap: registers.cr4Smap,
    cr4Smep: registers.cr4Smep,
    cr4La57: registers.eferLma && registers.cr4La57,
    eferLma: registers.eferLma,
    hasPferrFetch: registers.eferNx || registers.cr4Smep,
  });
}
