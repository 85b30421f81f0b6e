import type { Cpu } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";
import { type KvmRmapHead, kvmRmapGet, RmapIterator } from "@kvm-age/rmap";
import {
  type Gfn,
  isAccessedSpte,
  isShadowPresentPte,
  KVM_MAX_HUGEPAGE_LEVEL,
  PG_LEVEL_4K,
  type Spte,
} from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { SlotRmapIterator } from "../leaf-rmap/slot-rmap-iterator.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteAgeUnderMmuLock } from "./mmu-spte-age.js";

/** One list of the locked form. A test stops at the first young entry. */
function ageList(mmu: ShadowMmu, cpu: Cpu, head: KvmRmapHead, testOnly: boolean): boolean {
  const iterator = new RmapIterator();
  let young = false;
  for (
    let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
    sptep !== 0;
    sptep = iterator.getNext(cpu)
  ) {
    const spte = cpu.readOnce(sptep) as Spte;
    if (!isShadowPresentPte(spte)) {
      throw new ShadowPageCorruptionError("entry of an rmap is not present", { head, sptep, spte });
    }
    if (!isAccessedSpte(mmu.format, spte)) continue;
    if (testOnly) return true;
    young = true;
    mmuSpteAgeUnderMmuLock(mmu, cpu, sptep, spte);
  }
  return young;
}

/**
 * `kvm_rmap_age_gfn_range` as it was before 6.15: every list that the range touches, the last huge page included. Held: `mmu_lock` for
 * write, and `kvm->srcu`.
 *
 * @param testOnly changes nothing and stops at the first young page
 * @returns whether any leaf was accessed
 */
export function kvmRmapAgeGfnRangeLocked(
  mmu: ShadowMmu,
  cpu: Cpu,
  range: KvmGfnRange,
  testOnly: boolean,
): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const iterator = new SlotRmapIterator(cpu, {
    slot: range.slot,
    startLevel: PG_LEVEL_4K,
    endLevel: KVM_MAX_HUGEPAGE_LEVEL,
    startGfn: range.start,
    endGfn: (range.end - 1) as Gfn,
  });
  let young = false;
  for (; iterator.valid; iterator.next(cpu)) {
    if (!ageList(mmu, cpu, iterator.head, testOnly)) continue;
    if (testOnly) return true;
    young = true;
  }
  return young;
}
