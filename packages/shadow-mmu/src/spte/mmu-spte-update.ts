import type { Address, Cpu } from "@kvm-age/machine";
import {
  checkSpteWritableInvariants,
  isShadowPresentPte,
  mmuSpteUpdateNeedsTlbFlush,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteSet } from "./mmu-spte-set.js";
import { checkNoVe, setSpte } from "./set-spte.js";
import { shadowSpteNeedsAtomicUpdate } from "./spte-needs-atomic-update.js";

/** @throws ShadowPageCorruptionError for a value that must not be installed as a leaf. */
function checkNewSpte(mmu: ShadowMmu, sptep: Address, newSpte: Spte): void {
  if (!isShadowPresentPte(newSpte)) {
    throw new ShadowPageCorruptionError("leaf updated to a value that is not present", { sptep, newSpte });
  }
  if (!checkSpteWritableInvariants(mmu.format, newSpte)) {
    throw new ShadowPageCorruptionError("W, MMU-writable and Host-writable contradict", { sptep, newSpte });
  }
}

/** The value replaced: exact where the volatile rule asks for it, else the snapshot, with an Accessed bit lost at most. */
function replace(mmu: ShadowMmu, cpu: Cpu, sptep: Address, oldSpte: Spte, newSpte: Spte): Spte {
  if (!shadowSpteNeedsAtomicUpdate(mmu, oldSpte)) {
    setSpte(mmu, cpu, sptep, newSpte);
    return oldSpte;
  }
  checkNoVe(mmu, sptep, newSpte);
  // A fast page fault may have set W, the ager may have tracked the entry, hardware may have set D: the value that comes back
  // says so, and the decision below is made on it.
  return cpu.xchg(sptep, newSpte, "full") as Spte;
}

/**
 * `mmu_spte_update_no_track`: replaces a leaf by another for the same page, or fills an entry that is not present, and leaves flushes to the
 * caller. Held: `mmu_lock` for write.
 *
 * @returns the value replaced, exact in everything but Accessed
 * @throws ShadowPageCorruptionError for a new value that is no leaf, or a leaf of another page.
 */
export function mmuSpteUpdateNoTrack(mmu: ShadowMmu, cpu: Cpu, sptep: Address, newSpte: Spte): Spte {
  checkNewSpte(mmu, sptep, newSpte);
  const snapshot = cpu.readOnce(sptep) as Spte;
  if (!isShadowPresentPte(snapshot)) {
    mmuSpteSet(mmu, cpu, sptep, newSpte);
    return snapshot;
  }
  const oldSpte = replace(mmu, cpu, sptep, snapshot, newSpte);
  if (!isShadowPresentPte(oldSpte) || spteToPfn(mmu.format, oldSpte) !== spteToPfn(mmu.format, newSpte)) {
    throw new ShadowPageCorruptionError("update changed the page", { sptep, oldSpte, newSpte });
  }
  return oldSpte;
}

/**
 * `mmu_spte_update`: the same, with the rule set's answer to whether a flush is due before the lock is dropped.
 *
 * @throws ShadowPageCorruptionError as `mmuSpteUpdateNoTrack`.
 */
export function mmuSpteUpdate(mmu: ShadowMmu, cpu: Cpu, sptep: Address, newSpte: Spte): boolean {
  const oldSpte = mmuSpteUpdateNoTrack(mmu, cpu, sptep, newSpte);
  return mmuSpteUpdateNeedsTlbFlush(mmu.format, oldSpte, newSpte);
}
