import type { Address, Cpu } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, type PrimaryMmu, type Slot } from "@kvm-age/memslot";
import {
  type Gfn,
  isLastSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  makeHugeSpte,
  PG_LEVEL_2M,
  PG_LEVEL_4K,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { forEachValidRootOfSlot } from "../dirty/dirty-log-slot.js";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched, tdpMmuIterNeedResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";
import { isRecoverableTable } from "./is-recoverable-table.js";

/** The table could not be searched to the end before somebody wanted the lock. */
const AGAIN = "again";

/**
 * `tdp_mmu_make_huge_spte`: a huge leaf built from the first present leaf anywhere below the entry; null if there is none,
 * `AGAIN` if the search should be broken off. Any leaf will do: the slot maps the range contiguously. Whether to break off is
 * asked of the parent's walk, which is the one that will give way.
 */
function tdpMmuMakeHugeSpte(mmu: TdpMmu, cpu: Cpu, parent: TdpIter): Spte | null | typeof AGAIN {
  const child = sptepToSp(mmu, cpu, (spteToPfn(mmu.format, parent.oldSpte) * 4096) as Address);
  const end = parent.gfn + kvmPagesPerHpage(parent.level);
  const iter = new TdpIter(mmu.format);
  for (iter.start(cpu, child, PG_LEVEL_4K, parent.gfn); iter.valid && iter.gfn < end; iter.next(cpu)) {
    if (tdpMmuIterNeedResched(mmu, cpu, parent)) return AGAIN;
    if (!isShadowPresentPte(iter.oldSpte) || !isLastSpte(iter.oldSpte, iter.level)) continue;
    return makeHugeSpte(mmu.format, iter.oldSpte, parent.level, mmu.nxHugePages);
  }
  return null;
}

/** `recover_huge_pages_range`: one root's part of the slot, its flush included. */
function recoverHugePagesRange(
  mmu: TdpMmu,
  cpu: Cpu,
  primary: PrimaryMmu,
  slot: Slot,
  root: KvmMmuPage,
  start: Gfn,
  end: Gfn,
): void {
  let flush = false;
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  iter.start(cpu, root, PG_LEVEL_2M, start);
  while (iter.valid && iter.gfn < end) {
    if (tdpMmuIterCondResched(mmu, cpu, iter, flush, true)) {
      flush = false;
      iter.next(cpu);
      continue;
    }
    const huge = isRecoverableTable(mmu, cpu, primary, slot, iter)
      ? tdpMmuMakeHugeSpte(mmu, cpu, iter)
      : null;
    // Broken off, or the exchange was lost: the same entry again, with the yield check.
    if (huge === AGAIN) continue;
    if (huge !== null) {
      if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, huge)) continue;
      flush = true;
    }
    iter.next(cpu);
  }
  // Before RCU is left: the tables that were replaced may be in use by hardware until then.
  if (flush) cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn: start, pages: end - start });
  cpu.rcuReadUnlock();
}

/**
 * `kvm_tdp_mmu_recover_huge_pages`: after dirty logging was switched off, replaces tables of small leaves by huge leaves where slot
 * and host allow it. `mmu_lock` held for read; may yield. Does nothing if the slot is logged again.
 */
export function kvmTdpMmuRecoverHugePages(mmu: TdpMmu, cpu: Cpu, primary: PrimaryMmu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  if (kvmSlotDirtyTrackEnabled(cpu, slot)) return;
  forEachValidRootOfSlot(mmu, cpu, slot, (root, start, end) => {
    recoverHugePagesRange(mmu, cpu, primary, slot, root, start, end);
    return false;
  });
}
