import type { Cpu } from "@kvm-age/machine";
import { kvmMemslotsHaveRmaps, type Slot, slotBaseGfn } from "@kvm-age/memslot";
import type { KvmRmapHead } from "@kvm-age/rmap";
import { type Gfn, PG_LEVEL_4K } from "@kvm-age/spte";
import { gfnToRmap } from "../leaf-rmap/gfn-to-rmap.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { rmapWriteProtect } from "./kvm-mmu-slot-gfn-write-protect.js";
import { rmapClearDirty } from "./rmap-clear-dirty.js";

/** Pages of one call: bits of a word of the dirty bitmap. */
const WINDOW = 64;

/** The 4K lists of the pages in the mask. */
function forEachMaskedRmap(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
  visit: (head: KvmRmapHead) => void,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  if (!kvmMemslotsHaveRmaps(mmu.memslots, cpu)) return;
  const firstGfn = slotBaseGfn(cpu, slot) + gfnOffset;
  for (let bit = 0; bit < WINDOW; bit++) {
    if (((mask >> BigInt(bit)) & 1n) === 0n) continue;
    visit(gfnToRmap(cpu, slot, (firstGfn + bit) as Gfn, PG_LEVEL_4K));
  }
}

/**
 * `kvm_mmu_write_protect_pt_masked`, shadow part: arms the dirty log for up to 64 pages by W; MMU-writable stays, so that a fast page
 * fault can give W back. Held: `mmu_lock` for write; the bits were taken out of the bitmap before, and the caller flushes before
 * user space sees them.
 *
 * @param gfnOffset first page, relative to the slot
 * @param mask one bit a page, [0, 2^64)
 */
export function kvmMmuWriteProtectPtMasked(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
): void {
  forEachMaskedRmap(mmu, cpu, slot, gfnOffset, mask, (head) => rmapWriteProtect(mmu, cpu, head, false));
}

/** `kvm_mmu_clear_dirty_pt_masked`, shadow part: the same by D, or by W where D does not log. */
export function kvmMmuClearDirtyPtMasked(
  mmu: ShadowMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
): void {
  forEachMaskedRmap(mmu, cpu, slot, gfnOffset, mask, (head) => rmapClearDirty(mmu, cpu, head));
}
