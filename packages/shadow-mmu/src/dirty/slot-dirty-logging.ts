import type { Cpu } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import { type Gfn, KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_2M, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";
import { kvmShadowMmuRecoverHugePages } from "../huge/kvm-shadow-mmu-recover-huge-pages.js";
import { kvmShadowMmuTrySplitHugePages } from "../huge/kvm-shadow-mmu-try-split-huge-pages.js";
import { walkSlotRmaps } from "../leaf-rmap/walk-slot-rmaps.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { kvmMmuClearDirtyPtMasked, kvmMmuWriteProtectPtMasked } from "./dirty-log-pt-masked.js";
import { rmapsWriteProtectGfn, rmapWriteProtect } from "./kvm-mmu-slot-gfn-write-protect.js";
import { rmapClearDirty } from "./rmap-clear-dirty.js";

/** Runs `body` under `mmu_lock` held for write, if the slot has rmaps at all. */
function withWriteLockIfRmaps(mmu: ShadowMmu, cpu: Cpu, body: () => void): void {
  if (!kvmMemslotsHaveRmaps(mmu.memslots, cpu)) return;
  cpu.writeLock(mmu.mmuLock);
  body();
  cpu.writeUnlock(mmu.mmuLock);
}

/**
 * `kvm_mmu_slot_remove_write_access`, shadow part: write-protects every leaf of a slot from `startLevel` up, for dirty logging. Takes
 * `mmu_lock`; may yield. Held: `slots_lock`. The caller flushes the slot.
 */
export function kvmMmuSlotRemoveWriteAccess(mmu: ShadowMmu, cpu: Cpu, slot: Slot, startLevel: PgLevel): void {
  withWriteLockIfRmaps(mmu, cpu, () => {
    walkSlotRmaps(mmu, cpu, slot, startLevel, KVM_MAX_HUGEPAGE_LEVEL, false, (walking, head) =>
      rmapWriteProtect(mmu, walking, head, false),
    );
  });
}

/**
 * `kvm_mmu_slot_leaf_clear_dirty`, shadow part: clears D of every 4K leaf of a slot, or W where D does not log. Takes `mmu_lock`; may
 * yield. Held: `slots_lock`. The caller flushes the slot.
 */
export function kvmMmuSlotLeafClearDirty(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  withWriteLockIfRmaps(mmu, cpu, () => {
    walkSlotRmaps(mmu, cpu, slot, PG_LEVEL_4K, PG_LEVEL_4K, false, (walking, head) =>
      rmapClearDirty(mmu, walking, head),
    );
  });
}

/**
 * Shadow part of `kvm_mmu_slot_apply_flags` when logging was switched on and the bitmap does not start all set: splits huge pages if
 * configured, then arms the log by D (with CPU dirty logging; huge leaves by W, so that they are split when written) or by W.
 * Held: `slots_lock`. The caller flushes the slot afterwards, outside `mmu_lock`, whatever changed.
 */
export function kvmShadowMmuSlotEnableDirtyLogging(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  if (mmu.options.eagerPageSplit) {
    const start = slotBaseGfn(cpu, slot);
    const end = (start + slotNpages(cpu, slot)) as Gfn;
    withWriteLockIfRmaps(mmu, cpu, () => {
      kvmShadowMmuTrySplitHugePages(mmu, cpu, slot, start, end, PG_LEVEL_4K);
    });
  }
  if (!mmu.cpuDirtyLog) {
    kvmMmuSlotRemoveWriteAccess(mmu, cpu, slot, PG_LEVEL_4K);
    return;
  }
  kvmMmuSlotLeafClearDirty(mmu, cpu, slot);
  kvmMmuSlotRemoveWriteAccess(mmu, cpu, slot, PG_LEVEL_2M);
}

/** Shadow part of `kvm_mmu_slot_apply_flags` when logging was switched off: lets huge pages come back. Held: `slots_lock`. */
export function kvmShadowMmuSlotDisableDirtyLogging(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  withWriteLockIfRmaps(mmu, cpu, () => kvmShadowMmuRecoverHugePages(mmu, cpu, slot));
}

/** Index of the lowest and highest set bit of a non-zero 64-bit mask. */
function maskBounds(mask: bigint): { first: number; last: number } {
  const text = mask.toString(2);
  return { first: text.length - 1 - text.lastIndexOf("1"), last: text.length - 1 };
}

/** What was not done when logging began with a bitmap all set: huge pages around the mask are split, or lose write access. */
function prepareHugePages(mmu: ShadowMmu, cpu: Cpu, slot: Slot, gfnOffset: number, mask: bigint): void {
  const { first, last } = maskBounds(mask);
  const firstGfn = slotBaseGfn(cpu, slot) + gfnOffset;
  const start = (firstGfn + first) as Gfn;
  const end = (firstGfn + last) as Gfn;
  if (mmu.options.eagerPageSplit) {
    kvmShadowMmuTrySplitHugePages(mmu, cpu, slot, start, (end + 1) as Gfn, PG_LEVEL_4K);
  }
  rmapsWriteProtectGfn(mmu, cpu, slot, start, PG_LEVEL_2M);
  if (Math.floor(start / 512) !== Math.floor(end / 512)) {
    rmapsWriteProtectGfn(mmu, cpu, slot, end, PG_LEVEL_2M);
  }
}

/**
 * Shadow part of `kvm_arch_mmu_enable_log_dirty_pt_masked`: arms the log again for the pages whose bits were just taken. Held:
 * `slots_lock`, `mmu_lock` for write, which a split may drop and take again. The caller flushes the slot.
 *
 * @param gfnOffset first page, relative to the slot
 * @param mask one bit a page, not 0, [0, 2^64)
 * @param initiallySet the slot was not prepared when logging began
 */
export function kvmShadowMmuEnableLogDirtyPtMasked(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
  initiallySet: boolean,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  if (initiallySet) prepareHugePages(mmu, cpu, slot, gfnOffset, mask);
  if (mmu.cpuDirtyLog) kvmMmuClearDirtyPtMasked(mmu, cpu, slot, gfnOffset, mask);
  else kvmMmuWriteProtectPtMasked(mmu, cpu, slot, gfnOffset, mask);
}
