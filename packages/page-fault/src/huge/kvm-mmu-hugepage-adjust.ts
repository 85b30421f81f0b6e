import type { Cpu } from "@kvm-age/machine";
import {
  kvmMmuMaxMappingLevel,
  kvmSlotDirtyTrackEnabled,
  NULL_SLOT,
  type PrimaryMmu,
} from "@kvm-age/memslot";
import { kvmPagesPerHpage, type Pfn, PG_LEVEL_4K } from "@kvm-age/spte";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";
import { SpteCorruptionError } from "../mmu/spte-corruption-error.js";

/**
 * `kvm_mmu_hugepage_adjust`: chooses the level to map. Under `mmu_lock`: the host's page tables are read without a lock of
 * theirs, and an invalidation that changes them waits for this fault or has been seen.
 *
 * @throws SpteCorruptionError if gfn and pfn are not aligned alike although the slot allows the level.
 */
export function kvmMmuHugepageAdjust(
  mmu: FaultingMmu,
  cpu: Cpu,
  primary: PrimaryMmu,
  fault: KvmPageFault,
): void {
  fault.hugePageDisallowed = fault.exec && mmu.nxHugePages;
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
