import type { Cpu } from "@kvm-age/machine";
import type { Slot } from "../slot/slot.js";
import type { KvmGfnRange } from "./kvm-gfn-range.js";

/**
 * What slots and notifiers need of a VM's MMUs: the `kvm_arch_*` and `kvm_*_gfn` hooks of x86. Memslots
 * neither know how many MMUs there are nor what an SPTE is. Each method names the locks its caller holds;
 * "SRCU" is a read section of `kvm->srcu`.
 */
export interface SecondaryMmu {
  /**
   * `kvm_age_gfn`: clears the Accessed state of the range; whether any of it was accessed. Every part of
   * every MMU is visited. Held: SRCU; `mmu_lock` for write unless `range.lockless`, else no lock and the
   * caller may be under a host page-table lock.
   */
  ageGfn(cpu: Cpu, range: KvmGfnRange): boolean;
  /** `kvm_test_age_gfn`: whether any of the range was accessed; changes nothing. Held: as `ageGfn`. */
  testAgeGfn(cpu: Cpu, range: KvmGfnRange): boolean;
  /**
   * `kvm_unmap_gfn_range`: removes all mappings of the range; whether translations must be flushed. Held:
   * SRCU or `slots_lock`; `mmu_lock` for write, with an invalidation in progress or under `slots_lock`.
   */
  unmapGfnRange(cpu: Cpu, range: KvmGfnRange): boolean;
  /** `kvm_arch_flush_shadow_all`: removes every mapping; the VM never runs again. Held: SRCU. */
  flushShadowAll(cpu: Cpu): void;
  /**
   * `kvm_arch_flush_shadow_memslot`: removes every mapping of the slot and whatever shadows page tables in
   * it, and flushes. `slot` is the slot before its INVALID copy became active. Held: `slots_lock`.
   */
  flushShadowMemslot(cpu: Cpu, slot: Slot): void;
  /**
   * `kvm_arch_memslots_updated`: the address space's generation is about to become `generation` (bit 63
   * clear). Drops cached MMIO mappings if the part of the generation they store wrapped to 0. Held:
   * `slots_lock`.
   */
  memslotsUpdated(cpu: Cpu, generation: bigint): void;
  /**
   * `kvm_mmu_change_mmu_pages`: the VM's size changed, so its quota of shadow pages is now `goal` (at least
   * 64), unless its owner set one. Held: `slots_lock`.
   */
  changeMmuPages(cpu: Cpu, goal: number): void;
  /**
   * `kvm_mmu_update_cpu_dirty_logging`: the first logging slot appeared (`enabled`) or the last one went.
   * CPUs with a page-modification log switch it. Held: `slots_lock`.
   */
  updateCpuDirtyLogging(cpu: Cpu, enabled: boolean): void;
  /**
   * Dirty logging was turned on for `slot`, which is active: splits huge mappings and clears W (or D, with a
   * page-modification log). Not called if bitmaps start all set. The caller flushes the slot. Held:
   * `slots_lock`.
   */
  enableDirtyLogging(cpu: Cpu, slot: Slot): void;
  /** Dirty logging was turned off for `slot`: huge mappings may be recovered. Held: `slots_lock`. */
  disableDirtyLogging(cpu: Cpu, slot: Slot): void;
  /**
   * `kvm_arch_mmu_enable_log_dirty_pt_masked`: re-arms the pages `gfnOffset + i` of the slot for every set
   * bit i of `mask`. The caller flushes the slot. Held: `slots_lock`, `mmu_lock` for write.
   *
   * @param gfnOffset multiple of 64, relative to the slot's base
   * @param mask 64 bits, not 0
   */
  enableLogDirtyPtMasked(cpu: Cpu, slot: Slot, gfnOffset: number, mask: bigint): void;
  /** `kvm_arch_sync_dirty_log`: moves what CPUs have logged privately into the bitmap. Held: `slots_lock`. */
  syncDirtyLog(cpu: Cpu, slot: Slot): void;
  /**
   * `kvm_flush_remote_tlbs`. Held: whatever the caller of a walk holds; `mmu_lock` for write unless lockless.
   */
  flushRemoteTlbs(cpu: Cpu): void;
  /** `kvm_flush_remote_tlbs_memslot`. Held: `slots_lock`, not `mmu_lock`. */
  flushRemoteTlbsMemslot(cpu: Cpu, slot: Slot): void;
}
