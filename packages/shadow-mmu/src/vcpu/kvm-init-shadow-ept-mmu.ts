import type { Cpu } from "@kvm-age/machine";
import { ShadowMmuConfigError } from "../errors.js";
import { kvmCalcShadowEptRootPageRole } from "../role/kvm-calc-shadow-ept-root-page-role.js";
import { cpuRoleBase } from "../role/kvm-cpu-role.js";
import { kvmMmuNewPgd } from "../root/kvm-mmu-new-pgd.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { initContext } from "./init-context.js";
import { MmuKind } from "./kvm-mmu.js";
import { loadNestedMmu } from "./nested-context.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/** How L1 runs its guest under EPT. */
export interface ShadowEptInit {
  /**
   * EPTP as L1 wrote it, an integer in [0, 2^52): memory type in bits 2:0, levels minus 1 in bits 5:3, bit 6 if A and D are
   * maintained, L1-physical address of the root in bits 51:12.
   */
  readonly eptp: number;
  /** Whether L1's EPT capabilities have execute-only entries. @default false */
  readonly executeOnly?: boolean;
  /** Mode-based execute control, enabled by L1 for L2. 7.3 only. @default false */
  readonly modeBasedExecute?: boolean;
}

const EPTP_LIMIT = 2 ** 52;
const EPTP_AD_ENABLE = 1 << 6;

/** `vmx_eptp_page_walk_level`: levels of the tables, 4 or 5. */
function eptpLevel(mmu: ShadowMmu, eptp: number): 4 | 5 {
  const level = ((eptp >>> 3) & 7) + 1;
  if (level !== 4 && level !== 5) throw new ShadowMmuConfigError("levels of eptp", level, "4 or 5");
  if (level > mmu.hostLevel)
    throw new ShadowMmuConfigError("levels of eptp", level, `at most ${mmu.hostLevel}`);
  return level;
}

function checkEptInit(mmu: ShadowMmu, init: ShadowEptInit): void {
  const { mode, rules, kvmAdEnabled, shadowPresentMask } = mmu.format;
  const { eptp } = init;
  if (mode !== "ept") throw new ShadowMmuConfigError("format.mode", mode, "ept");
  if (!Number.isInteger(eptp) || eptp < 0 || eptp >= EPTP_LIMIT) {
    throw new ShadowMmuConfigError("eptp", eptp, "an integer in [0, 2^52)");
  }
  if ((eptp & EPTP_AD_ENABLE) !== 0 && !kvmAdEnabled) {
    throw new ShadowMmuConfigError("bit 6 of eptp", 1, "0 on a host without A/D bits");
  }
  // Where the present mask brings R along, no entry can be without it.
  if (init.executeOnly === true && BigInt.asUintN(1, shadowPresentMask) !== 0n) {
    throw new ShadowMmuConfigError("executeOnly", true, "false on a host without execute-only entries");
  }
  if (init.modeBasedExecute === true && rules.role.cr4Smep === null) {
    throw new ShadowMmuConfigError("modeBasedExecute", true, `false under ${rules.name}`);
  }
}

/**
 * `kvm_init_shadow_ept_mmu`: sets `guest_mmu` up to shadow L1's EPT, makes it the current context and switches to the root of `eptp`,
 * a cached one if there is one. For L2's entry on Intel.
 *
 * L2's own page tables are walked by hardware over what is shadowed here, and by KVM for itself (`initKvmNestedMmu`).
 *
 * @throws ShadowMmuConfigError if the format is not EPT's, or `eptp` or a control is not one that L1 can have
 */
export function kvmInitShadowEptMmu(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  init: ShadowEptInit,
): void {
  checkEptInit(mmu, init);
  const { eptp } = init;
  const cpuRole = kvmCalcShadowEptRootPageRole(mmu.format.rules, {
    level: eptpLevel(mmu, eptp),
    accessedDirty: (eptp & EPTP_AD_ENABLE) !== 0,
    executeOnly: init.executeOnly ?? false,
    modeBasedExecute: init.modeBasedExecute ?? false,
  });
  const mode = { kind: MmuKind.nestedEpt, cpuRole, rootRole: cpuRoleBase(cpuRole), guestPgd: eptp };
  loadNestedMmu(cpu, vcpu);
  initContext(cpu, vcpu.guestMmu, mode);
  kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.guestMmu, eptp);
}
