import type { Cpu } from "@kvm-age/machine";
import { ShadowMmuConfigError } from "../errors.js";
import { kvmCalcCpuRole } from "../role/kvm-calc-cpu-role.js";
import { kvmCalcShadowNptRootPageRole } from "../role/kvm-calc-shadow-mmu-root-page-role.js";
import { kvmMmuNewPgd } from "../root/kvm-mmu-new-pgd.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { initContext } from "./init-context.js";
import { MmuKind } from "./kvm-mmu.js";
import { loadNestedMmu } from "./nested-context.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/** How L1 runs its guest under nested paging. L1 is in long mode, so its nested tables have 4 or 5 levels. */
export interface ShadowNptInit {
  /** nCR3 of the VMCB: L1-physical address of the nested root in bytes, an integer in [0, 2^52). */
  readonly nCr3: number;
  /** L1's CR0.WP. */
  readonly cr0Wp: boolean;
  /** L1's EFER.NX. */
  readonly eferNx: boolean;
  /** L1's CR4.SMEP. 6.15 applies it to nested walks, where it has no effect: they are user accesses. */
  readonly cr4Smep?: boolean;
  /** L1's CR4.SMAP. */
  readonly cr4Smap?: boolean;
  /** L1's CR4.LA57: five levels. */
  readonly cr4La57?: boolean;
  /** Guest-mode execute trap, enabled by L1 for L2: supervisor fetches from user pages fault. 7.3 only. @default false */
  readonly guestModeExecuteTrap?: boolean;
}

const NCR3_LIMIT = 2 ** 52;

/** The flag that is SMEP in 6.15's extended word, and the execute trap in 7.3's role word. */
function smepOrExecuteTrap(mmu: ShadowMmu, init: ShadowNptInit): boolean {
  const executeTrap = init.guestModeExecuteTrap ?? false;
  if (mmu.format.rules.role.cr4Smep !== null) return executeTrap;
  if (!executeTrap) return init.cr4Smep ?? false;
  throw new ShadowMmuConfigError("guestModeExecuteTrap", true, `false under ${mmu.format.rules.name}`);
}

/**
 * `kvm_init_shadow_npt_mmu`: sets `guest_mmu` up to shadow L1's nested page tables, makes it the current context and switches to
 * the root of `nCr3`, a cached one if there is one. For L2's entry on AMD.
 *
 * L2's own page tables are walked by hardware over what is shadowed here, and by KVM for itself (`initKvmNestedMmu`).
 *
 * @throws ShadowMmuConfigError if the format is not NPT's, `nCr3` is out of range, L1 has five levels and the host four, or the rule
 * set has no execute trap
 */
export function kvmInitShadowNptMmu(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  init: ShadowNptInit,
): void {
  const { nCr3, cr4La57 = false } = init;
  if (mmu.format.mode !== "npt") throw new ShadowMmuConfigError("format.mode", mmu.format.mode, "npt");
  if (!Number.isInteger(nCr3) || nCr3 < 0 || nCr3 >= NCR3_LIMIT) {
    throw new ShadowMmuConfigError("nCr3", nCr3, "an integer in [0, 2^52)");
  }
  if (cr4La57 && mmu.hostLevel === 4)
    throw new ShadowMmuConfigError("cr4La57", true, "false on a host of 4 levels");
  const cpuRole = kvmCalcCpuRole(
    mmu,
    {
      cr0Pg: true,
      cr0Wp: init.cr0Wp,
      cr3: nCr3,
      cr4Pae: true,
      cr4Pse: false,
      cr4Smep: smepOrExecuteTrap(mmu, init),
      cr4Smap: init.cr4Smap ?? false,
      cr4Pke: false,
      cr4La57,
      eferNx: init.eferNx,
      eferLma: true,
    },
    { smm: cpu.readOnce32(vcpu.inSmmWord) !== 0, guestMode: true },
  );
  const rootRole = kvmCalcShadowNptRootPageRole(mmu.format.rules, cpuRole, mmu.hostLevel);
  loadNestedMmu(cpu, vcpu);
  initContext(cpu, vcpu.guestMmu, { kind: MmuKind.nestedNpt, cpuRole, rootRole, guestPgd: nCr3 });
  kvmMmuNewPgd(mmu, cpu, vcpu, vcpu.guestMmu, nCr3);
}
