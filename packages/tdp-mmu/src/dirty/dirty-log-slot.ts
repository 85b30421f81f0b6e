import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Slot, slotAsId, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import {
  type Gfn,
  isLastSpte,
  isShadowPresentPte,
  PG_LEVEL_4K,
  type PgLevel,
  roleGuestMode,
  type Spte,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import { type KvmMmuPage, spRole } from "../page/kvm-mmu-page.js";
import { tdpMmuNextRoot } from "../root/root-reference.js";
import { KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";

const PT_WRITABLE_MASK = 2n;
const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/** Whether dirty logging in this root needs W cleared rather than D (`tdp_mmu_need_write_protect`). */
export function tdpMmuNeedWriteProtect(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage): boolean {
  if (!mmu.format.kvmAdEnabled) return true;
  return mmu.cpuDirtyLog && roleGuestMode(spRole(cpu, root));
}

/**
 * Clears one bit in every leaf of a range of one root, at `minLevel` and above, by compare-exchange under `mmu_lock` held
 * for read. A lost exchange re-evaluates the entry as it is now. Returns whether anything changed.
 */
function clearBitInRange(
  mmu: TdpMmu,
  cpu: Cpu,
  root: KvmMmuPage,
  start: Gfn,
  end: Gfn,
  minLevel: PgLevel,
  bit: bigint,
): boolean {
  let changed = false;
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  iter.start(cpu, root, minLevel, start);
  while (iter.valid && iter.gfn < end) {
    if (tdpMmuIterCondResched(mmu, cpu, iter, false, true)) {
      iter.next(cpu);
      continue;
    }
    const { oldSpte } = iter;
    const leaf = isShadowPresentPte(oldSpte) && isLastSpte(oldSpte, iter.level);
    if (leaf && BigInt.asUintN(64, oldSpte & bit) !== 0n) {
      if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, BigInt.asUintN(64, oldSpte & ~bit) as Spte)) continue;
      changed = true;
    }
    iter.next(cpu);
  }
  cpu.rcuReadUnlock();
  return changed;
}

/**
 * `kvm_tdp_mmu_wrprot_slot`: write-protects every leaf of a slot at `minLevel` and above for dirty logging; MMU-writable stays,
 * so a fast page fault can give W back. `mmu_lock` held for read; may yield. Returns whether anything changed; the caller
 * flushes before user space sees the log.
 */
export function kvmTdpMmuWrprotSlot(mmu: TdpMmu, cpu: Cpu, slot: Slot, minLevel: PgLevel): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  return forEachValidRootOfSlot(mmu, cpu, slot, (root, start, end) =>
    clearBitInRange(mmu, cpu, root, start, end, minLevel, PT_WRITABLE_MASK),
  );
}

/**
 * `kvm_tdp_mmu_clear_dirty_slot`: arms the dirty log of a whole slot: clears D, or W where D is not a hardware bit. `mmu_lock` held
 * for read; may yield. The caller flushes the slot unconditionally.
 */
export function kvmTdpMmuClearDirtySlot(mmu: TdpMmu, cpu: Cpu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  forEachValidRootOfSlot(mmu, cpu, slot, (root, start, end) => {
    const bit = tdpMmuNeedWriteProtect(mmu, cpu, root) ? PT_WRITABLE_MASK : mmu.format.shadowDirtyMask;
    return clearBitInRange(mmu, cpu, root, start, end, PG_LEVEL_4K, bit);
  });
}

/** Visits every valid root of the slot's address space with the slot's gfn range; ORs the answers. */
export function forEachValidRootOfSlot(
  mmu: TdpMmu,
  cpu: Cpu,
  slot: Slot,
  visit: (root: KvmMmuPage, start: Gfn, end: Gfn) => boolean,
): boolean {
  const asId = slotAsId(cpu, slot);
  const start = slotBaseGfn(cpu, slot);
  const end = (start + slotNpages(cpu, slot)) as Gfn;
  let result = false;
  let root = tdpMmuNextRoot(mmu, cpu, NO_ROOT, asId, KVM_VALID_ROOTS);
  while (root !== NO_ROOT) {
    result = visit(root, start, end) || result;
    root = tdpMmuNextRoot(mmu, cpu, root, asId, KVM_VALID_ROOTS);
  }
  return result;
}
