import type { Address, Cpu } from "@kvm-age/machine";
import { leafSpteChangeNeedsTlbFlush, markSpteForAccessTrack, type Spte, spteAdEnabled } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteUpdateNoTrack } from "../spte/mmu-spte-update.js";

/**
 * Ages one leaf under its list's bit alone, for a snapshot that was accessed.
 *
 * Compare-exchange, not retried (7.3; 6.15 for entries without hardware A/D): pairs with whoever else changes the entry by exchange or
 * compare-exchange: a fast page fault, or a holder of `mmu_lock`. If one was first, its value stays, and the page counts as young this
 * once, since a change suggests use. If hardware set D or a fault W, those stay for the same reason.
 *
 * Atomic AND (6.15 for entries with hardware A/D): clears A of whatever is there. D and W, which others may have set since, survive; a
 * zapped entry has no A. The entry cannot have become another page's or an MMIO one: for that it comes off its list first, and the list
 * is locked.
 *
 * A holder of `mmu_lock` may overwrite the result by a plain store of what it saw before: the page looks young once more.
 */
export function mmuSpteAgeLockless(mmu: ShadowMmu, cpu: Cpu, sptep: Address, spte: Spte): void {
  const { format } = mmu;
  if (format.rules.agingUpdate === "fetch-and" && spteAdEnabled(format, spte)) {
    cpu.fetchAnd(sptep, BigInt.asUintN(64, ~format.shadowAccessedMask), "full");
  } else {
    cpu.cmpxchg(sptep, spte, markSpteForAccessTrack(format, spte), "full");
  }
}

/**
 * The same as a holder of `mmu_lock` for write did it before 6.15: hardware A by one atomic AND, tracking through `mmuSpteUpdateNoTrack`:
 * no flush is due, by no rule.
 *
 * @throws ShadowPageCorruptionError if tracking asked for a flush: it must leave MMU-writable alone.
 */
export function mmuSpteAgeUnderMmuLock(mmu: ShadowMmu, cpu: Cpu, sptep: Address, spte: Spte): void {
  const { format } = mmu;
  if (spteAdEnabled(format, spte)) {
    cpu.fetchAnd(sptep, BigInt.asUintN(64, ~format.shadowAccessedMask), "full");
    return;
  }
  const aged = markSpteForAccessTrack(format, spte);
  if (leafSpteChangeNeedsTlbFlush(format, mmuSpteUpdateNoTrack(mmu, cpu, sptep, aged), aged)) {
    throw new ShadowPageCorruptionError("access tracking took MMU-writable away", { sptep, spte });
  }
}
