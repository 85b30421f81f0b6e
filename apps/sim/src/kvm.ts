import { type Cpu, type FlushDomain, requestAllMembers } from "@kvm-age/machine";
import {
  KVM_FILTER_SHARED,
  type KvmGfnRange,
  type Memslots,
  type PrimaryMmu,
  type SecondaryMmu,
  type Slot,
  slotBaseGfn,
  slotNpages,
} from "@kvm-age/memslot";
import { REQUEST_MMU_FREE_OBSOLETE_ROOTS } from "@kvm-age/page-fault";
import {
  kvmMmuChangeMmuPages,
  kvmMmuZapAll,
  kvmMmuZapAllFastBegin,
  kvmMmuZapMemslotPagesAndFlush,
  kvmShadowMmuEnableLogDirtyPtMasked,
  kvmShadowMmuSlotDisableDirtyLogging,
  kvmShadowMmuSlotEnableDirtyLogging,
  kvmShadowUnmapGfnRange,
  kvmShadowZapAllFast,
  kvmZapObsoletePages,
  type ShadowMmu,
} from "@kvm-age/shadow-mmu";
import { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS, type SpteFormat } from "@kvm-age/spte";
import {
  KVM_VALID_ROOTS,
  kvmTdpMmuEnableLogDirtyPtMasked,
  kvmTdpMmuInvalidateRoots,
  kvmTdpMmuSlotDisableDirtyLogging,
  kvmTdpMmuSlotEnableDirtyLogging,
  kvmTdpMmuUnmapGfnRange,
  kvmTdpMmuZapAll,
  kvmTdpMmuZapAllFast,
  kvmTdpMmuZapInvalidatedRoots,
  type TdpMmu,
} from "@kvm-age/tdp-mmu";
import type { AgingPart } from "./aging/aging-part.js";
import type { KvmAgingPolicy } from "./aging/aging-policies.js";
import { kvmAging } from "./aging/kvm-aging.js";

/** What a VM is made of: one MMU or both. */
export interface KvmParts {
  readonly memslots: Memslots;
  readonly format: SpteFormat;
  readonly flushDomain: FlushDomain;
  readonly primary: PrimaryMmu;
  /** Null with shadow paging, or with `tdp_mmu=N`. */
  readonly tdp: TdpMmu | null;
  /** Null if no guest is nested and the TDP MMU maps the rest. */
  readonly shadow: ShadowMmu | null;
  /** The module parameter's quirk: slot deletion zaps everything fast. */
  readonly slotZapAll: boolean;
  readonly aging: KvmAgingPolicy;
}

/**
 * The `kvm_arch` hooks of x86: what memslots and the MMU notifier ask of a VM, answered by its MMUs. This file, with `aging/`, is the
 * place where the wiring is to be read.
 */
export class Kvm implements SecondaryMmu {
  private readonly aging: AgingPart;

  constructor(private readonly parts: KvmParts) {
    this.aging = kvmAging(parts.memslots, parts.tdp, parts.shadow, parts.aging);
  }

  get memslots(): Memslots {
    return this.parts.memslots;
  }

  get primary(): PrimaryMmu {
    return this.parts.primary;
  }

  /** `kvm_age_gfn`. */
  ageGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.aging.age(cpu, range);
  }

  /** `kvm_test_age_gfn`. */
  testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean {
    return this.aging.test(cpu, range);
  }

  /** `kvm_unmap_gfn_range`: rmaps, then TDP; neither may be left out, and what the first owes in flushes the second passes on. */
  unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean {
    const { tdp, shadow } = this.parts;
    const flush = shadow !== null && kvmShadowUnmapGfnRange(shadow, cpu, range, false);
    return tdp === null ? flush : kvmTdpMmuUnmapGfnRange(tdp, cpu, range, flush);
  }

  /** `kvm_arch_flush_shadow_all` → `kvm_mmu_zap_all`. */
  flushShadowAll(cpu: Cpu): void {
    const { tdp, shadow } = this.parts;
    const { mmuLock } = this.memslots.locks;
    cpu.writeLock(mmuLock);
    if (shadow !== null) kvmMmuZapAll(shadow, cpu);
    if (tdp !== null) kvmTdpMmuZapAll(tdp, cpu);
    cpu.writeUnlock(mmuLock);
  }

  /** `kvm_arch_flush_shadow_memslot`: everything fast, or what belongs to the slot only if that quirk is off. */
  flushShadowMemslot(cpu: Cpu, slot: Slot): void {
    if (this.parts.slotZapAll) this.zapAllFast(cpu);
    else this.zapMemslot(cpu, slot);
  }

  /**
   * `kvm_arch_memslots_updated` → `kvm_mmu_invalidate_mmio_sptes`: the stored generation bits wrapped to 0. Without MMIO caching no
   * entry stores a generation; 7.3 then does nothing, and 6.15's zap would find nothing that it is for.
   */
  memslotsUpdated(cpu: Cpu, generation: bigint): void {
    const { format, memslots } = this.parts;
    if (!format.enableMmioCaching) return;
    const addressSpaceBits = BigInt(memslots.nrAddressSpaces - 1);
    const stored = generation & ~KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS & format.rules.mmioGeneration.mask;
    if ((stored & ~addressSpaceBits) === 0n) this.zapAllFast(cpu);
  }

  /** `kvm_mmu_change_mmu_pages`: the quota of shadow pages. */
  changeMmuPages(cpu: Cpu, goal: number): void {
    const { shadow } = this.parts;
    if (shadow !== null) kvmMmuChangeMmuPages(shadow, cpu, goal);
  }

  /** `kvm_mmu_update_cpu_dirty_logging`: a page-modification log beyond its effect on D bits is not modelled. */
  updateCpuDirtyLogging(): void {}

  /** `kvm_mmu_slot_apply_flags`, logging switched on. */
  enableDirtyLogging(cpu: Cpu, slot: Slot): void {
    const { tdp, shadow } = this.parts;
    if (shadow !== null) kvmShadowMmuSlotEnableDirtyLogging(shadow, cpu, slot);
    if (tdp !== null) kvmTdpMmuSlotEnableDirtyLogging(tdp, cpu, slot);
  }

  /** `kvm_mmu_slot_apply_flags`, logging switched off. */
  disableDirtyLogging(cpu: Cpu, slot: Slot): void {
    const { tdp, shadow, primary } = this.parts;
    if (shadow !== null) kvmShadowMmuSlotDisableDirtyLogging(shadow, cpu, slot);
    if (tdp !== null) kvmTdpMmuSlotDisableDirtyLogging(tdp, cpu, primary, slot);
  }

  /** `kvm_arch_mmu_enable_log_dirty_pt_masked`. */
  enableLogDirtyPtMasked(cpu: Cpu, slot: Slot, gfnOffset: number, mask: bigint): void {
    const { tdp, shadow } = this.parts;
    const { dirtyLogInitiallySet } = this.memslots.options;
    if (shadow !== null)
      kvmShadowMmuEnableLogDirtyPtMasked(shadow, cpu, slot, gfnOffset, mask, dirtyLogInitiallySet);
    if (tdp !== null) kvmTdpMmuEnableLogDirtyPtMasked(tdp, cpu, slot, gfnOffset, mask, dirtyLogInitiallySet);
  }

  /** `kvm_arch_sync_dirty_log`: no private log to drain, as for `updateCpuDirtyLogging`. */
  syncDirtyLog(): void {}

  /** `kvm_flush_remote_tlbs`. */
  flushRemoteTlbs(cpu: Cpu): void {
    cpu.flushRemoteTlbs(this.parts.flushDomain, null);
  }

  /** `kvm_flush_remote_tlbs_memslot`. Held: `slots_lock`, so that the slot's flush is over before the next update begins. */
  flushRemoteTlbsMemslot(cpu: Cpu, slot: Slot): void {
    cpu.lockdep.assertHeld(this.memslots.locks.slotsLock, "write");
    const range = { startGfn: slotBaseGfn(cpu, slot), pages: slotNpages(cpu, slot) };
    cpu.flushRemoteTlbs(this.parts.flushDomain, range);
  }

  /**
   * `kvm_mmu_zap_all_fast`: marks everything obsolete, has every vCPU drop its roots, and zaps it. Held: `slots_lock`, so that
   * there is never a third generation.
   */
  private zapAllFast(cpu: Cpu): void {
    const { tdp, shadow } = this.parts;
    if (shadow === null) kvmTdpMmuZapAllFast(tdp!, cpu);
    else if (tdp === null) kvmShadowZapAllFast(shadow, cpu);
    else this.zapBothFast(cpu, tdp, shadow);
  }

  private zapBothFast(cpu: Cpu, tdp: TdpMmu, shadow: ShadowMmu): void {
    const { mmuLock } = this.memslots.locks;
    cpu.writeLock(mmuLock);
    kvmMmuZapAllFastBegin(shadow, cpu);
    kvmTdpMmuInvalidateRoots(tdp, cpu, KVM_VALID_ROOTS);
    // One request for both, still under the lock: who has served it finds no root of the past.
    requestAllMembers(cpu, this.parts.flushDomain, REQUEST_MMU_FREE_OBSOLETE_ROOTS);
    kvmZapObsoletePages(shadow, cpu);
    cpu.writeUnlock(mmuLock);
    kvmTdpMmuZapInvalidatedRoots(tdp, cpu, true);
  }

  /** `kvm_mmu_zap_memslot`: the slot's leaves in both MMUs, and the shadow pages of guest tables that lie in it. */
  private zapMemslot(cpu: Cpu, slot: Slot): void {
    const { shadow, flushDomain } = this.parts;
    const { mmuLock } = this.memslots.locks;
    const start = slotBaseGfn(cpu, slot);
    const end = (start + slotNpages(cpu, slot)) as typeof start;
    const range = { slot, start, end, mayBlock: true, lockless: false, attrFilter: KVM_FILTER_SHARED };
    cpu.writeLock(mmuLock);
    const flush = this.unmapGfnRange(cpu, range);
    if (shadow !== null) kvmMmuZapMemslotPagesAndFlush(shadow, cpu, slot, flush);
    else if (flush) cpu.flushRemoteTlbs(flushDomain, null);
    cpu.writeUnlock(mmuLock);
  }
}
