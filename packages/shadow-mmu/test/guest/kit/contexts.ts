import type { GuestPagingRegisters } from "../../../src/role/guest-paging-registers.js";
import { kvmCalcCpuRole } from "../../../src/role/kvm-calc-cpu-role.js";
import {
  kvmCalcShadowEptRootPageRole,
  type ShadowEptMode,
} from "../../../src/role/kvm-calc-shadow-ept-root-page-role.js";
import { kvmCalcShadowMmuRootPageRole } from "../../../src/role/kvm-calc-shadow-mmu-root-page-role.js";
import { cpuRoleBase } from "../../../src/role/kvm-cpu-role.js";
import { initContext } from "../../../src/vcpu/init-context.js";
import { type KvmMmu, MmuKind } from "../../../src/vcpu/kvm-mmu.js";
import type { GuestRig } from "./guest-rig.js";
import { longMode } from "./registers.js";

/** Sets `root_mmu` up for a walk of the guest's own tables, without roots: nothing can be mapped through it. */
export function walkableContext(rig: GuestRig, changes: Partial<GuestPagingRegisters> = {}): KvmMmu {
  const registers = longMode(changes);
  const cpuRole = kvmCalcCpuRole(rig.mmu, registers, { smm: false, guestMode: false });
  const rootRole = kvmCalcShadowMmuRootPageRole(rig.format.rules, cpuRole);
  initContext(rig.cpu, rig.vcpu.rootMmu, {
    kind: MmuKind.shadow,
    cpuRole,
    rootRole,
    guestPgd: registers.cr3,
  });
  return rig.vcpu.rootMmu;
}

/** The same for L1's EPT in `guest_mmu`. */
export function walkableEptContext(rig: GuestRig, changes: Partial<ShadowEptMode> = {}): KvmMmu {
  const cpuRole = kvmCalcShadowEptRootPageRole(rig.format.rules, {
    level: 4,
    accessedDirty: true,
    executeOnly: false,
    modeBasedExecute: false,
    ...changes,
  });
  initContext(rig.cpu, rig.vcpu.guestMmu, {
    kind: MmuKind.nestedEpt,
    cpuRole,
    rootRole: cpuRoleBase(cpuRole),
    guestPgd: 0x1000,
  });
  return rig.vcpu.guestMmu;
}
