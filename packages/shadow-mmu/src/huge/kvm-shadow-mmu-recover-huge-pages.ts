import type { Address, Cpu } from "@kvm-age/machine";
import { kvmMmuMaxMappingLevel, type Slot, slotBaseGfn, slotNpages } from "@kvm-age/memslot";
import { type KvmRmapHead, kvmRmapGet, kvmZapOneRmapSpte, RmapIterator } from "@kvm-age/rmap";
import { KVM_MAX_HUGEPAGE_LEVEL, PG_LEVEL_2M, PG_LEVEL_4K, roleDirect, roleLevel } from "@kvm-age/spte";
import { walkSlotRmaps } from "../leaf-rmap/walk-slot-rmaps.js";
import { spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageGetGfn } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteClearTrackBits } from "../spte/mmu-spte-clear-track-bits.js";

/**
 * Whether a larger page than this leaf's could map its gfn: the leaf is in a linear table, and slot and host allow a higher level. What
 * an indirect table maps is as large as the guest's own page.
 */
function isCollapsible(mmu: ShadowMmu, cpu: Cpu, slot: Slot, sptep: Address): boolean {
  const sp = sptepToSp(mmu, cpu, sptep);
  const role = spRole(cpu, sp);
  if (!roleDirect(role)) return false;
  const gfn = kvmMmuPageGetGfn(mmu, cpu, sp, sptepIndex(sptep));
  const level = kvmMmuMaxMappingLevel(mmu.memslots, cpu, mmu.host, slot, gfn, KVM_MAX_HUGEPAGE_LEVEL);
  return roleLevel(role) < level;
}

/** The first leaf of a list that stands in the way of a larger page, 0 if there is none. */
function firstCollapsible(mmu: ShadowMmu, cpu: Cpu, slot: Slot, head: KvmRmapHead): Address {
  const iterator = new RmapIterator();
  let sptep = iterator.getFirst(cpu, kvmRmapGet(cpu, head));
  while (sptep !== 0 && !isCollapsible(mmu, cpu, slot, sptep)) sptep = iterator.getNext(cpu);
  return sptep;
}

/** `kvm_mmu_zap_collapsible_spte`: zaps those leaves of one list, one at a time, as each removal ends the walk. True if any. */
function zapCollapsibleSptes(mmu: ShadowMmu, cpu: Cpu, slot: Slot, head: KvmRmapHead): boolean {
  let flush = false;
  for (;;) {
    const sptep = firstCollapsible(mmu, cpu, slot, head);
    if (sptep === 0) return flush;
    kvmZapOneRmapSpte(mmu.rmaps, cpu, head, sptep, (clearing, entry) => {
      mmuSpteClearTrackBits(mmu, clearing, entry);
    });
    flush = true;
  }
}

/**
 * `kvm_mmu_recover_huge_pages`, shadow part (`kvm_rmap_zap_collapsible_sptes`): after dirty logging was switched off, zaps the leaves that
 * a fault would now map by a larger page. Held: `mmu_lock` for write, which may be dropped and taken again; `slots_lock`.
 */
export function kvmShadowMmuRecoverHugePages(mmu: ShadowMmu, cpu: Cpu, slot: Slot): void {
  const flush = walkSlotRmaps(mmu, cpu, slot, PG_LEVEL_4K, PG_LEVEL_2M, true, (walking, head) =>
    zapCollapsibleSptes(mmu, walking, slot, head),
  );
  if (!flush) return;
  cpu.flushRemoteTlbs(mmu.flushDomain, { startGfn: slotBaseGfn(cpu, slot), pages: slotNpages(cpu, slot) });
}
