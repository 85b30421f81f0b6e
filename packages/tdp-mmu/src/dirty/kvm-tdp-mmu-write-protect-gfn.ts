import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Slot, slotAsId } from "@kvm-age/memslot";
import { type Gfn, isLastSpte, isShadowPresentPte, type PgLevel, type Spte } from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import { nextMatchingRoot } from "../root/root-list.js";
import { KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuIterSetSpte } from "../write/tdp-mmu-set-spte.js";

const PT_WRITABLE_MASK = 2n;
const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/** `write_protect_gfn`: takes W and MMU-writable from the leaf that maps `gfn` in one root. True if it had either. */
function writeProtectGfn(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, gfn: Gfn, minLevel: PgLevel): boolean {
  const bits = PT_WRITABLE_MASK | mmu.format.shadowMmuWritableMask;
  let changed = false;
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  for (iter.start(cpu, root, minLevel, gfn); iter.valid && iter.gfn < gfn + 1; iter.next(cpu)) {
    if (!isShadowPresentPte(iter.oldSpte) || !isLastSpte(iter.oldSpte, iter.level)) continue;
    const protectedSpte = BigInt.asUintN(64, iter.oldSpte & ~bits) as Spte;
    if (protectedSpte === iter.oldSpte) break;
    tdpMmuIterSetSpte(mmu, cpu, iter, protectedSpte);
    changed = true;
  }
  cpu.rcuReadUnlock();
  return changed;
}

/**
 * `kvm_tdp_mmu_write_protect_gfn`: makes a gfn unwritable for good, because it holds a guest page table or is tracked. Held:
 * `mmu_lock` for write; if the answer is true the caller flushes before it drops the lock.
 */
export function kvmTdpMmuWriteProtectGfn(
  mmu: TdpMmu,
  cpu: Cpu,
  slot: Slot,
  gfn: Gfn,
  minLevel: PgLevel,
): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const asId = slotAsId(cpu, slot);
  let changed = false;
  let root = nextMatchingRoot(mmu, cpu, NO_ROOT, asId, KVM_VALID_ROOTS);
  while (root !== NO_ROOT) {
    changed = writeProtectGfn(mmu, cpu, root, gfn, minLevel) || changed;
    root = nextMatchingRoot(mmu, cpu, root, asId, KVM_VALID_ROOTS);
  }
  return changed;
}
