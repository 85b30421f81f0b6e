import type { Cpu } from "@kvm-age/machine";
import {
  kvmMmuMaxMappingLevel,
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type PrimaryMmu,
} from "@kvm-age/memslot";
import {
  isLargePte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  type Pfn,
  PG_LEVEL_4K,
  type PgLevel,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { isNxHugePageEnabled } from "../huge/nx-huge-pages.js";
import { SpteCorruptionError } from "../page/errors.js";
import { type KvmMmuPage, nxHugePageDisallowedWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { KvmPageFault } from "./kvm-page-fault.js";

/**
 * `kvm_mmu_hugepage_adjust`: chooses the level to map. Under `mmu_lock`: the host's page tables are read without a lock of
 * theirs, and an invalidation that changes them waits for this fault or has been seen.
 *
 * @throws SpteCorruptionError if gfn and pfn are not aligned alike although the slot allows the level.
 */
export function kvmMmuHugepageAdjust(mmu: TdpMmu, cpu: Cpu, primary: PrimaryMmu, fault: KvmPageFault): void {
  fault.hugePageDisallowed = fault.exec && isNxHugePageEnabled(mmu);
  if (fault.maxLevel === PG_LEVEL_4K || fault.slot === NULL_SLOT) return;
  if (kvmSlotDirtyTrackEnabled(cpu, fault.slot)) return;
  fault.reqLevel = kvmMmuMaxMappingLevel(mmu.memslots, cpu, primary, fault.slot, fault.gfn, fault.maxLevel);
  if (fault.reqLevel === PG_LEVEL_4K || fault.hugePageDisallowed) return;
  fault.goalLevel = fault.reqLevel;
  const pages = kvmPagesPerHpage(fault.goalLevel);
  if (fault.gfn % pages !== fault.pfn % pages) {
    throw new SpteCorruptionError(
      "gfn and pfn of a huge page differ in alignment",
      fault.gfn,
      fault.goalLevel,
      0n,
      0n,
    );
  }
  fault.pfn = (fault.pfn - (fault.pfn % pages)) as Pfn;
}

/**
 * `disallowed_hugepage_adjust`: if the entry at the goal level already points to a table that exists for the NX mitigation, maps
 * one level lower instead of replacing the table by a huge page that the next fetch would split again.
 */
export function disallowedHugepageAdjust(
  mmu: TdpMmu,
  cpu: Cpu,
  fault: KvmPageFault,
  spte: Spte,
  level: PgLevel,
): void {
  if (level <= PG_LEVEL_4K || level !== fault.goalLevel) return;
  if (!isShadowPresentPte(spte) || isLargePte(spte)) return;
  const child = sptepToSp(mmu, cpu, (spteToPfn(mmu.format, spte) * 4096) as KvmMmuPage);
  if (cpu.readOnce32(nxHugePageDisallowedWord(child)) === 0) return;
  const lower = (level - 1) as PgLevel;
  // The frame of the lower page inside the huge one: the gfn bits between the two levels.
  const inside = (fault.gfn % kvmPagesPerHpage(level)) - (fault.gfn % kvmPagesPerHpage(lower));
  fault.pfn = (fault.pfn + inside) as Pfn;
  fault.goalLevel = lower;
}
