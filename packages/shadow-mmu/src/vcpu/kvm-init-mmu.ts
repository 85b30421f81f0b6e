import type { Cpu } from "@kvm-age/machine";
import { kvmCalcTdpMmuRootPageRole } from "@kvm-age/spte";
import { ShadowMmuConfigError } from "../errors.js";
import type { GuestPagingRegisters } from "../role/guest-paging-registers.js";
import { kvmCalcCpuRole } from "../role/kvm-calc-cpu-role.js";
import { kvmCalcShadowMmuRootPageRole } from "../role/kvm-calc-shadow-mmu-root-page-role.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { type ContextMode, initContext } from "./init-context.js";
import { MmuKind } from "./kvm-mmu.js";
import { loadPdptrs } from "./load-pdptrs.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/** Guest addresses are exact numbers. */
const CR3_LIMIT = 2 ** 52;

/**
 * Checks that the registers say a paging mode that this package reads.
 *
 * @throws ShadowMmuConfigError for 32-bit paging without PAE, long mode without PAE, or a CR3 that is no integer in [0, 2^52)
 */
export function checkGuestPaging(registers: GuestPagingRegisters): void {
  const { cr3, cr4Pae, eferLma } = registers;
  if (!Number.isInteger(cr3) || cr3 < 0 || cr3 >= CR3_LIMIT) {
    throw new ShadowMmuConfigError("cr3", cr3, "an integer in [0, 2^52)");
  }
  if (!registers.cr0Pg || cr4Pae) return;
  throw new ShadowMmuConfigError(
    "cr4Pae",
    cr4Pae,
    eferLma ? "true in long mode" : "true: paging without PAE",
  );
}

/** `init_kvm_tdp_mmu`, `init_kvm_softmmu`: the roles of a guest that is not nested. */
function modeOf(mmu: ShadowMmu, registers: GuestPagingRegisters, smm: boolean): ContextMode {
  const cpuRole = kvmCalcCpuRole(mmu, registers, { smm, guestMode: false });
  const guestPgd = registers.cr3;
  if (mmu.tdpEnabled) {
    const rootRole = kvmCalcTdpMmuRootPageRole(mmu.format, { level: mmu.hostLevel, smm });
    return { kind: MmuKind.direct, cpuRole, rootRole, guestPgd };
  }
  const kind = registers.cr0Pg ? MmuKind.shadow : MmuKind.direct;
  return { kind, cpuRole, rootRole: kvmCalcShadowMmuRootPageRole(mmu.format.rules, cpuRole), guestPgd };
}

/**
 * `kvm_init_mmu`: sets `root_mmu` up for the guest's paging mode: direct where hardware walks the guest's tables or paging is off, else
 * shadow. Loads the PDPTEs of a PAE guest. No root may be loaded that was made for another mode (`kvmMmuResetContext` sees to it).
 *
 * @returns false if a PDPTE is invalid: the instruction that changed the mode takes #GP, and nothing changed
 * @throws ShadowMmuConfigError for a paging mode that cannot be shadowed: 32-bit paging without PAE
 */
export function kvmInitMmu(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  registers: GuestPagingRegisters,
): boolean {
  if (!mmu.tdpEnabled) checkGuestPaging(registers);
  const mode = modeOf(mmu, registers, cpu.readOnce32(vcpu.inSmmWord) !== 0);
  const context = vcpu.rootMmu;
  const pae = mode.kind === MmuKind.shadow && !registers.eferLma;
  if (pae && !loadPdptrs(mmu, cpu, vcpu, context, registers.cr3)) return false;
  initContext(cpu, context, mode);
  return true;
}
