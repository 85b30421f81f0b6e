import type { Cpu } from "@kvm-age/machine";
import type { GuestPagingRegisters } from "../role/guest-paging-registers.js";
import { kvmCalcCpuRole } from "../role/kvm-calc-cpu-role.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { initContext } from "./init-context.js";
import { checkGuestPaging } from "./kvm-init-mmu.js";
import { MmuKind } from "./kvm-mmu.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/**
 * `init_kvm_nested_mmu`: how L2 pages while L1's nested tables map its memory. Only KVM's own walks (`walkMmuGvaToGpa`) look at it; for
 * L2's accesses hardware walks both dimensions.
 *
 * @throws ShadowMmuConfigError as `kvmInitMmu`
 */
export function initKvmNestedMmu(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  registers: GuestPagingRegisters,
): void {
  checkGuestPaging(registers);
  const smm = cpu.readOnce32(vcpu.inSmmWord) !== 0;
  const cpuRole = kvmCalcCpuRole(mmu, registers, { smm, guestMode: true });
  // No page is shadowed for this context, so it needs no role for one.
  const rootRole = vcpu.guestMmu.rootRole(cpu);
  initContext(cpu, vcpu.nestedMmu, { kind: MmuKind.shadow, cpuRole, rootRole, guestPgd: registers.cr3 });
}
