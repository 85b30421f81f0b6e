import type { Cpu, TraceValue } from "@kvm-age/machine";
import { roleFields } from "@kvm-age/spte";
import {
  type KvmMmuPage,
  mmuValidGenWord,
  rootCountWord,
  spGfn,
  spRole,
  unsyncWord,
} from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";

/** The fields of the page-class events (`sp gen … gfn … l…`). */
function pageFields(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): Record<string, TraceValue> {
  const role = roleFields(mmu.format.rules, spRole(cpu, sp));
  return {
    gen: cpu.readOnce32(mmuValidGenWord(sp)),
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
    unsync: cpu.readOnce32(unsyncWord(sp)) !== 0,
  };
}

/** Emits `kvm_mmu_get_page`: a page was made (`created`) or found. */
export function traceKvmMmuGetPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage, created: boolean): void {
  cpu.trace({ name: "kvm_mmu_get_page", fields: { ...pageFields(mmu, cpu, sp), created } });
}

/** Emits `kvm_mmu_sync_page`: the page is about to be marked synced. */
export function traceKvmMmuSyncPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.trace({ name: "kvm_mmu_sync_page", fields: pageFields(mmu, cpu, sp) });
}

/** Emits `kvm_mmu_unsync_page`: the page is about to be marked unsync. */
export function traceKvmMmuUnsyncPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.trace({ name: "kvm_mmu_unsync_page", fields: pageFields(mmu, cpu, sp) });
}

/** Emits `kvm_mmu_prepare_zap_page`: the page is about to be unlinked. */
export function traceKvmMmuPrepareZapPage(mmu: ShadowMmu, cpu: Cpu, sp: KvmMmuPage): void {
  cpu.trace({ name: "kvm_mmu_prepare_zap_page", fields: pageFields(mmu, cpu, sp) });
}

/** Emits `kvm_mmu_zap_all_fast`, before the generation is toggled. */
export function traceKvmMmuZapAllFast(mmu: ShadowMmu, cpu: Cpu): void {
  const fields = {
    mmu_valid_gen: cpu.readOnce32(mmu.mmuValidGenWord),
    mmu_used_pages: cpu.readOnce32(mmu.nUsedMmuPagesWord),
  };
  cpu.trace({ name: "kvm_mmu_zap_all_fast", fields });
}
