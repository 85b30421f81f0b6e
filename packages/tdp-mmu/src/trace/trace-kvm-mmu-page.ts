import type { Cpu, TraceValue } from "@kvm-age/machine";
import { roleFields } from "@kvm-age/spte";
import {
  type KvmMmuPage,
  rootCountWord,
  scheduledRootToZapWord,
  spGfn,
  spRole,
} from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";

/** The fields of the page-class events (`sp gen … gfn … l…`). */
function pageFields(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): Record<string, TraceValue> {
  const role = roleFields(mmu.format.rules, spRole(cpu, sp));
  return {
    gen: cpu.readOnce32(scheduledRootToZapWord(sp)),
    gfn: spGfn(cpu, sp),
    level: role.level,
    byte: role.has4ByteGpte ? 4 : 8,
    quadrant: role.quadrant,
    direct: role.direct,
    access: role.access,
    invalid: role.invalid,
    nxe: role.eferNx,
    ad: !role.adDisabled,
    root: cpu.readOnce32(rootCountWord(sp)),
    unsync: false,
  };
}

/** Emits `kvm_mmu_get_page`: a table was made (linked or not). */
export function traceKvmMmuGetPage(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.trace({ name: "kvm_mmu_get_page", fields: { ...pageFields(mmu, cpu, sp), created: true } });
}

/** Emits `kvm_mmu_prepare_zap_page`: a table was unlinked and is being torn down. */
export function traceKvmMmuPrepareZapPage(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.trace({ name: "kvm_mmu_prepare_zap_page", fields: pageFields(mmu, cpu, sp) });
}

/** Emits `kvm_mmu_zap_all_fast`, before the generation is toggled. The pages it counts are shadow pages: there are none. */
export function traceKvmMmuZapAllFast(mmu: TdpMmu, cpu: Cpu): void {
  const fields = { mmu_valid_gen: cpu.readOnce32(mmu.mmuValidGenWord), mmu_used_pages: 0 };
  cpu.trace({ name: "kvm_mmu_zap_all_fast", fields });
}
