import type { Cpu } from "@kvm-age/machine";
import type { PrimaryMmu, Slot } from "@kvm-age/memslot";
import { type Gfn, kvmPagesPerHpage, PG_LEVEL_2M, SHADOW_NONPRESENT_VALUE } from "@kvm-age/spte";
import { forEachValidRootOfSlot } from "../dirty/dirty-log-slot.js";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { handleChangedSpte } from "../write/handle-changed-spte.js";
import { tdpMmuTrySetSpte } from "../write/tdp-mmu-set-spte.js";
import { isRecoverableTable } from "./is-recoverable-table.js";

/**
 * `tdp_mmu_zap_spte_atomic`: zaps the iterator's entry for good, its flush included, under `mmu_lock` held for read. False if the entry
 * changed first, of which the iterator then knows.
 *
 * The entry is frozen until hardware can no longer use what it said: another reader of the lock that finds it empty may map
 * something else there. Nobody else writes to a frozen entry, so a plain store ends it; the bookkeeping comes last, so that others wait
 * for the flush only.
 */
function tdpMmuZapSpteAtomic(mmu: TdpMmu, cpu: Cpu, iter: TdpIter): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  const { asId, gfn, level, oldSpte } = iter;
  if (!tdpMmuTrySetSpte(mmu, cpu, iter, mmu.format.frozenSpte)) return false;
  cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn: gfn, pages: kvmPagesPerHpage(level) });
  cpu.writeOnce(iter.sptep, SHADOW_NONPRESENT_VALUE);
  handleChangedSpte(mmu, cpu, {
    asId,
    gfn,
    level,
    oldSpte,
    newSpte: SHADOW_NONPRESENT_VALUE,
    shared: true,
  });
  return true;
}

/** `zap_collapsible_spte_range`: one root's part of the slot. */
function zapCollapsibleSpteRange(
  mmu: TdpMmu,
  cpu: Cpu,
  primary: PrimaryMmu,
  slot: Slot,
  root: KvmMmuPage,
  start: Gfn,
  end: Gfn,
): void {
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  iter.start(cpu, root, PG_LEVEL_2M, start);
  while (iter.valid && iter.gfn < end) {
    const yielded = tdpMmuIterCondResched(mmu, cpu, iter, false, true);
    // A lost exchange: the same entry again, with the yield check.
    const zaps = !yielded && isRecoverableTable(mmu, cpu, primary, slot, iter);
    if (zaps && !tdpMmuZapSpteAtomic(mmu, cpu, iter)) continue;
    iter.next(cpu);
  }
  cpu.rcuReadUnlock();
}

/**
 * `kvm_tdp_mmu_zap_collapsible_sptes` (6.12): after dirty logging was switched off, zaps tables of small leaves where slot and host allow a
 * huge one, which the next fault maps. `mmu_lock` held for read; may yield.
 */
export function kvmTdpMmuZapCollapsibleSptes(mmu: TdpMmu, cpu: Cpu, primary: PrimaryMmu, slot: Slot): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  forEachValidRootOfSlot(mmu, cpu, slot, (root, start, end) => {
    zapCollapsibleSpteRange(mmu, cpu, primary, slot, root, start, end);
    return false;
  });
}
