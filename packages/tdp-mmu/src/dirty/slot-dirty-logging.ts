import type { Cpu } from "@kvm-age/machine";
import { type PrimaryMmu, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import { type Gfn, PG_LEVEL_2M, PG_LEVEL_4K } from "@kvm-age/spte";
import { kvmTdpMmuRecoverHugePages } from "../huge/kvm-tdp-mmu-recover-huge-pages.js";
import { kvmTdpMmuTrySplitHugePages } from "../huge/kvm-tdp-mmu-try-split-huge-pages.js";
import { kvmTdpMmuZapCollapsibleSptes } from "../huge/kvm-tdp-mmu-zap-collapsible-sptes.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { kvmTdpMmuClearDirtyPtMasked } from "./clear-dirty-pt-masked.js";
import { kvmTdpMmuClearDirtySlot, kvmTdpMmuWrprotSlot } from "./dirty-log-slot.js";
import { kvmTdpMmuWriteProtectGfn } from "./kvm-tdp-mmu-write-protect-gfn.js";

function withReadLock(mmu: TdpMmu, cpu: Cpu, body: () => void): void {
  cpu.readLock(mmu.mmuLock);
  body();
  cpu.readUnlock(mmu.mmuLock);
}

/**
 * TDP part of `kvm_mmu_slot_apply_flags` when logging was switched on and the bitmap does not start all set: splits huge pages if
 * configured, then arms the log by D (with CPU dirty logging; huge leaves by W, so that they are split when written) or by W.
 * Held: `slots_lock`. The caller flushes the slot afterwards, outside `mmu_lock`, whatever changed.
 */
export function kvmTdpMmuSlotEnableDirtyLogging(mmu: TdpMmu, cpu: Cpu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  const start = slotBaseGfn(cpu, slot);
  const end = (start + slotNpages(cpu, slot)) as Gfn;
  withReadLock(mmu, cpu, () => {
    if (mmu.options.eagerPageSplit) kvmTdpMmuTrySplitHugePages(mmu, cpu, slot, start, end, PG_LEVEL_4K, true);
  });
  withReadLock(mmu, cpu, () => {
    if (!mmu.cpuDirtyLog) {
      kvmTdpMmuWrprotSlot(mmu, cpu, slot, PG_LEVEL_4K);
      return;
    }
    kvmTdpMmuClearDirtySlot(mmu, cpu, slot);
    kvmTdpMmuWrprotSlot(mmu, cpu, slot, PG_LEVEL_2M);
  });
}

/** TDP part of `kvm_mmu_slot_apply_flags` when logging was switched off: huge pages again, now or by the next fault. Held: `slots_lock`. */
export function kvmTdpMmuSlotDisableDirtyLogging(
  mmu: TdpMmu,
  cpu: Cpu,
  primary: PrimaryMmu,
  slot: Slot,
): void {
  cpu.lockdep.assertHeld(mmu.memslots.locks.slotsLock, "write");
  const recover =
    mmu.format.rules.tdpDirtyLogOff === "zap" ? kvmTdpMmuZapCollapsibleSptes : kvmTdpMmuRecoverHugePages;
  withReadLock(mmu, cpu, () => recover(mmu, cpu, primary, slot));
}

/** Index of the lowest and highest set bit of a non-zero 64-bit mask. */
function maskBounds(mask: bigint): { first: number; last: number } {
  const text = mask.toString(2);
  return { first: text.length - 1 - text.lastIndexOf("1"), last: text.length - 1 };
}

/**
 * TDP part of `kvm_arch_mmu_enable_log_dirty_pt_masked`: arms the log again for the pages whose bits were just taken. Held:
 * `mmu_lock` for write. With `initiallySet` the slot was not prepared when logging began, so huge pages are split or
 * write-protected here, around the first and last page of the mask.
 */
export function kvmTdpMmuEnableLogDirtyPtMasked(
  mmu: TdpMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
  initiallySet: boolean,
): void {
  if (initiallySet) {
    const { first, last } = maskBounds(mask);
    const start = (slotBaseGfn(cpu, slot) + gfnOffset + first) as Gfn;
    const end = (slotBaseGfn(cpu, slot) + gfnOffset + last) as Gfn;
    if (mmu.options.eagerPageSplit) {
      kvmTdpMmuTrySplitHugePages(mmu, cpu, slot, start, (end + 1) as Gfn, PG_LEVEL_4K, false);
    }
    kvmTdpMmuWriteProtectGfn(mmu, cpu, slot, start, PG_LEVEL_2M);
    if (Math.floor(start / 512) !== Math.floor(end / 512)) {
      kvmTdpMmuWriteProtectGfn(mmu, cpu, slot, end, PG_LEVEL_2M);
    }
  }
  kvmTdpMmuClearDirtyPtMasked(mmu, cpu, slot, gfnOffset, mask, !mmu.cpuDirtyLog);
}
