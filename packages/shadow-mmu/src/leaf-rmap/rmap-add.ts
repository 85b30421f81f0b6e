import type { Address, Cpu, ObjectCache } from "@kvm-age/machine";
import type { Slot } from "@kvm-age/memslot";
import { kvmZapAllRmapSptes, pteListAdd, RMAP_RECYCLE_THRESHOLD } from "@kvm-age/rmap";
import { type Gfn, roleLevel } from "@kvm-age/spte";
import { flushRemoteTlbsGfn } from "../flush/flush-remote-tlbs-gfn.js";
import { spRole, sptepIndex } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import { kvmMmuPageSetTranslation } from "../page/translation.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteClearTrackBits } from "../spte/mmu-spte-clear-track-bits.js";
import { gfnToRmap } from "./gfn-to-rmap.js";

/** Keeps the longest list ever seen. Under `mmu_lock` held for write, so nobody raises it in between. */
function recordMaxRmapSize(mmu: ShadowMmu, cpu: Cpu, count: number): void {
  const word = mmu.statistics.word("max_mmu_rmap_size");
  if (count > cpu.readOnce32(word)) cpu.writeOnce32(word, count);
}

/**
 * `__rmap_add`: records what a leaf translates, counts it and puts it on the list of its gfn. The leaf is present already. A list that
 * had more than 1000 entries before is zapped, the new one included, and flushed: walks of it would take too long, and the
 * guest faults back what it uses. Held: `mmu_lock` for write.
 *
 * @param cache gives at most one descriptor
 * @param access what the guest's own translation allows
 */
export function rmapAdd(
  mmu: ShadowMmu,
  cpu: Cpu,
  cache: ObjectCache,
  slot: Slot,
  sptep: Address,
  gfn: Gfn,
  access: number,
): void {
  const sp = sptepToSp(mmu, cpu, sptep);
  const level = roleLevel(spRole(cpu, sp));
  kvmMmuPageSetTranslation(mmu, cpu, sp, sptepIndex(sptep), gfn, access);
  cpu.fetchAdd32(mmu.statistics.pageWord(level), 1, "relaxed");
  const head = gfnToRmap(cpu, slot, gfn, level);
  const count = pteListAdd(mmu.rmaps, cpu, cache, sptep, head);
  recordMaxRmapSize(mmu, cpu, count);
  if (count <= RMAP_RECYCLE_THRESHOLD) return;
  kvmZapAllRmapSptes(mmu.rmaps, cpu, head, (clearing, entry) => {
    mmuSpteClearTrackBits(mmu, clearing, entry);
  });
  flushRemoteTlbsGfn(mmu, cpu, gfn, level);
}
