import type { Address, Cpu } from "@kvm-age/machine";
import { isShadowPresentPte, roleLevel, SHADOW_NONPRESENT_VALUE, type Spte } from "@kvm-age/spte";
import { spRole } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { setSpte } from "./set-spte.js";
import { shadowSpteNeedsAtomicUpdate } from "./spte-needs-atomic-update.js";

/**
 * `mmu_spte_clear_track_bits`: makes a leaf non-present and counts it off. Held: `mmu_lock` for write. It comes off its rmap
 * afterwards, not before: until then a lockless walk may find the cleared entry, which it skips.
 *
 * @returns the value replaced, exact in everything but Accessed
 */
export function mmuSpteClearTrackBits(mmu: ShadowMmu, cpu: Cpu, sptep: Address): Spte {
  let oldSpte = cpu.readOnce(sptep) as Spte;
  if (shadowSpteNeedsAtomicUpdate(mmu, oldSpte)) {
    // W, D or a restored permission may have come since the look; nothing can come after the exchange, because whoever
    // changes an entry without the lock expects a present value.
    oldSpte = cpu.xchg(sptep, SHADOW_NONPRESENT_VALUE, "full") as Spte;
  } else {
    setSpte(mmu, cpu, sptep, SHADOW_NONPRESENT_VALUE);
  }
  if (isShadowPresentPte(oldSpte)) {
    const level = roleLevel(spRole(cpu, sptepToSp(mmu, cpu, sptep)));
    cpu.fetchAdd32(mmu.statistics.pageWord(level), -1, "relaxed");
  }
  return oldSpte;
}
