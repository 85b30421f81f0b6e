import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Slot, slotAsId, slotBaseGfn } from "@kvm-age/memslot";
import { type Gfn, isLastSpte, isShadowPresentPte, PG_LEVEL_4K, type Spte } from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import { nextMatchingRoot } from "../root/root-list.js";
import { KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceTdpMmuSpteChanged } from "../trace/trace-tdp-mmu-spte-changed.js";
import { tdpMmuClearSpteBits } from "../write/tdp-spte-access.js";
import { tdpMmuNeedWriteProtect } from "./dirty-log-slot.js";

const PT_WRITABLE_MASK = 2n;
const NO_ROOT = NULL_ADDRESS as KvmMmuPage;
/** Pages of one call: bits of a word of the dirty bitmap. */
const WINDOW = 64;

/** Clears `bit` in the 4K leaves of one root whose pages are in the mask. */
function clearMaskedInRoot(
  mmu: TdpMmu,
  cpu: Cpu,
  root: KvmMmuPage,
  firstGfn: Gfn,
  mask: bigint,
  bit: bigint,
): void {
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  const end = firstGfn + WINDOW;
  for (iter.start(cpu, root, PG_LEVEL_4K, firstGfn); iter.valid && iter.gfn < end; iter.next(cpu)) {
    const { oldSpte } = iter;
    if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, iter.level)) continue;
    if (iter.level > PG_LEVEL_4K || ((mask >> BigInt(iter.gfn - firstGfn)) & 1n) === 0n) continue;
    if (BigInt.asUintN(64, oldSpte & bit) === 0n) continue;
    const found = tdpMmuClearSpteBits(mmu, cpu, iter.sptep, oldSpte, bit, iter.level);
    if (!cpu.tracing) continue;
    const cleared = BigInt.asUintN(64, found & ~bit) as Spte;
    traceTdpMmuSpteChanged(cpu, iter.asId, iter.gfn, iter.level, found, cleared);
  }
  cpu.rcuReadUnlock();
}

/**
 * `kvm_tdp_mmu_clear_dirty_pt_masked`: arms the dirty log again for up to 64 pages of a slot. Held: `mmu_lock` for write; the
 * bits were taken out of the bitmap before, and the caller flushes before user space sees them.
 *
 * @param gfnOffset first page, relative to the slot
 * @param mask one bit a page, [0, 2^64)
 * @param wrprot clear W rather than D
 */
export function kvmTdpMmuClearDirtyPtMasked(
  mmu: TdpMmu,
  cpu: Cpu,
  slot: Slot,
  gfnOffset: number,
  mask: bigint,
  wrprot: boolean,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const asId = slotAsId(cpu, slot);
  const firstGfn = (slotBaseGfn(cpu, slot) + gfnOffset) as Gfn;
  let root = nextMatchingRoot(mmu, cpu, NO_ROOT, asId, KVM_VALID_ROOTS);
  while (root !== NO_ROOT) {
    const useW = wrprot || tdpMmuNeedWriteProtect(mmu, cpu, root);
    const bit = useW ? PT_WRITABLE_MASK : mmu.format.shadowDirtyMask;
    clearMaskedInRoot(mmu, cpu, root, firstGfn, mask, bit);
    root = nextMatchingRoot(mmu, cpu, root, asId, KVM_VALID_ROOTS);
  }
}
