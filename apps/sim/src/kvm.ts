import type { Cpu } from "@kvm-age/machine";
import {
  type KvmGfnRange,
  type Memslots,
  type PrimaryMmu,
  type SecondaryMmu,
  type Slot,
  slotBaseGfn,
  slotNpages,
} from "@kvm-age/memslot";
import { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "@kvm-age/spte";
import {
  kvmTdpMmuAgeGfnRange,
  kvmTdpMmuEnableLogDirtyPtMasked,
  kvmTdpMmuSlotDisableDirtyLogging,
  kvmTdpMmuSlotEnableDirtyLogging,
  kvmTdpMmuTestAgeGfn,
  kvmTdpMmuUnmapGfnRange,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapAllFast,
  type TdpMmu,
} from "@kvm-age/tdp-mmu";

/**
 * The `kvm_arch` hooks of x86: what memslots and the MMU notifier ask of a VM, answered by its MMUs. This file is the
 * place where the wiring is to be read. The TDP MMU is the only MMU so far.
 */
export class Kvm implements SecondaryMmu {
  constructor(
    readonly memslots: Memslots,
    readonly tdp: TdpMmu,
    readonly primary: PrimaryMmu,
  ) {}

  /** `kvm_age_gfn`. */
  ageGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return kvmTdpMmuAgeGfnRange(this.tdp, cpu, range);
  }

  /** `kvm_test_age_gfn`. */
  testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return kvmTdpMmuTestAgeGfn(this.tdp, cpu, range);
  }

  /** `kvm_unmap_gfn_range`. */
  unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean {
    return kvmTdpMmuUnmapGfnRange(this.tdp, cpu, range, false);
  }

  /** `kvm_arch_flush_shadow_all` → `kvm_mmu_zap_all`. */
  flushShadowAll(cpu: Cpu): void {
    cpu.writeLock(this.tdp.mmuLock);
    kvmTdpMmuZapAll(this.tdp, cpu);
    cpu.writeUnlock(this.tdp.mmuLock);
  }

  /** `kvm_arch_flush_shadow_memslot`: everything fast, or the slot's leaves only if that quirk is off. */
  flushShadowMemslot(cpu: Cpu, slot: Slot): void {
    if (this.tdp.options.slotZapAll) kvmTdpMmuZapAllFast(this.tdp, cpu);
    else this.zapMemslotLeafs(cpu, slot);
  }

  /**
   * `kvm_arch_memslots_updated` → `kvm_mmu_invalidate_mmio_sptes`: the stored generation bits wrapped to 0. Without MMIO caching no
   * entry stores a generation; 7.3 then does nothing, and 6.15's zap would find nothing that it is for.
   */
  memslotsUpdated(cpu: Cpu, generation: bigint): void {
    const { format } = this.tdp;
    if (!format.enableMmioCaching) return;
    const addressSpaceBits = BigInt(this.memslots.nrAddressSpaces - 1);
    const stored = generation & ~KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS & format.rules.mmioGeneration.mask;
    if ((stored & ~addressSpaceBits) === 0n) kvmTdpMmuZapAllFast(this.tdp, cpu);
  }

  /** `kvm_mmu_change_mmu_pages`: a quota of shadow pages, of which a VM with the TDP MMU alone has none. */
  changeMmuPages(): void {}

  /** `kvm_mmu_update_cpu_dirty_logging`: a page-modification log beyond its effect on D bits is not modelled. */
  updateCpuDirtyLogging(): void {}

  /** `kvm_mmu_slot_apply_flags`, logging switched on. */
  enableDirtyLogging(cpu: Cpu, slot: Slot): void {
    kvmTdpMmuSlotEnableDirtyLogging(this.tdp, cpu, slot);
  }

  /** `kvm_mmu_slot_apply_flags`, logging switched off. */
  disableDirtyLogging(cpu: Cpu, slot: Slot): void {
    kvmTdpMmuSlotDisableDirtyLogging(this.tdp, cpu, this.primary, slot);
  }

  /** `kvm_arch_mmu_enable_log_dirty_pt_masked`. */
  enableLogDirtyPtMasked(cpu: Cpu, slot: Slot, gfnOffset: number, mask: bigint): void {
    const { dirtyLogInitiallySet } = this.memslots.options;
    kvmTdpMmuEnableLogDirtyPtMasked(this.tdp, cpu, slot, gfnOffset, mask, dirtyLogInitiallySet);
  }

  /** `kvm_arch_sync_dirty_log`: no private log to drain, as for `updateCpuDirtyLogging`. */
  syncDirtyLog(): void {}

  /** `kvm_flush_remote_tlbs`. */
  flushRemoteTlbs(cpu: Cpu): void {
    cpu.flushRemoteTlbs(this.tdp.flushDomain, null);
  }

  /** `kvm_flush_remote_tlbs_memslot`. */
  flushRemoteTlbsMemslot(cpu: Cpu, slot: Slot): void {
    const range = { startGfn: slotBaseGfn(cpu, slot), pages: slotNpages(cpu, slot) };
    cpu.flushRemoteTlbs(this.tdp.flushDomain, range);
  }

  /** `kvm_mmu_zap_memslot`. */
  private zapMemslotLeafs(cpu: Cpu, slot: Slot): void {
    const start = slotBaseGfn(cpu, slot);
    const end = (start + slotNpages(cpu, slot)) as typeof start;
    cpu.writeLock(this.tdp.mmuLock);
    const range = { slot, start, end, mayBlock: true, lockless: false, attrFilter: 1 };
    if (kvmTdpMmuUnmapGfnRange(this.tdp, cpu, range, false)) cpu.flushRemoteTlbs(this.tdp.flushDomain, null);
    cpu.writeUnlock(this.tdp.mmuLock);
  }
}
