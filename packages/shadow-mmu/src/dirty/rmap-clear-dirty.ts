import type { Address, Cpu } from "@kvm-age/machine";
import type { KvmRmapHead } from "@kvm-age/rmap";
import { isWritablePte, type Spte, spteAdNeedWriteProtect } from "@kvm-age/spte";
import { forEachRmapSpte } from "../leaf-rmap/for-each-rmap-spte.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteUpdate } from "../spte/mmu-spte-update.js";

const WITHOUT_WRITABLE = 2n ** 64n - 1n - 2n;

/**
 * `spte_wrprot_for_clear_dirty`: takes W by one atomic AND, so that nothing else that is set meanwhile is lost: a restored permission of
 * an access-tracked entry, for one. A fast page fault that gives W back right after logs the page anew.
 */
function spteWrprotForClearDirty(cpu: Cpu, sptep: Address): boolean {
  return isWritablePte(cpu.fetchAnd(sptep, WITHOUT_WRITABLE, "full") as Spte);
}

/** `spte_clear_dirty`: takes D, which the hardware sets again, and logs, at the next write. */
function spteClearDirty(mmu: ShadowMmu, cpu: Cpu, sptep: Address, spte: Spte): boolean {
  const clean = BigInt.asUintN(64, spte & ~mmu.format.shadowDirtyMask) as Spte;
  return mmuSpteUpdate(mmu, cpu, sptep, clean);
}

/**
 * `__rmap_clear_dirty`: arms the log again for every entry of a list, by D, or by W where D does not log. Held: `mmu_lock` for write; the
 * caller flushes before user space sees the log.
 *
 * @returns whether anything changed that the kernel would report as due for a flush
 */
export function rmapClearDirty(mmu: ShadowMmu, cpu: Cpu, head: KvmRmapHead): boolean {
  return forEachRmapSpte(cpu, head, (sptep) => {
    const spte = cpu.readOnce(sptep) as Spte;
    return spteAdNeedWriteProtect(mmu.format, spte)
      ? spteWrprotForClearDirty(cpu, sptep)
      : spteClearDirty(mmu, cpu, sptep, spte);
  });
}
