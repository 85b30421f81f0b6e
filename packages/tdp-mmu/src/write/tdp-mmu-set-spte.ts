import type { Cpu } from "@kvm-age/machine";
import { SpteCorruptionError } from "@kvm-age/page-fault";
import { isFrozenSpte, type Spte } from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { handleChangedSpte } from "./handle-changed-spte.js";
import { isSameSpte } from "./is-same-spte.js";
import { kvmTdpMmuReadSpte, kvmTdpMmuWriteSpte } from "./tdp-spte-access.js";

function checkUsable(mmu: TdpMmu, iter: TdpIter, newSpte: Spte): void {
  if (!iter.yielded && !isFrozenSpte(mmu.format, iter.oldSpte)) return;
  throw new SpteCorruptionError(
    "write through a yielded or frozen position",
    iter.gfn,
    iter.level,
    iter.oldSpte,
    newSpte,
  );
}

/**
 * `__tdp_mmu_set_spte_atomic`: compare-exchange of the iterator's snapshot. On failure nothing changed but the snapshot,
 * which is now what the entry holds, and the answer is false (`-EBUSY`): somebody else was first, and the caller decides
 * whether the new value still calls for its change.
 */
export function tdpMmuTrySetSpte(mmu: TdpMmu, cpu: Cpu, iter: TdpIter, newSpte: Spte): boolean {
  checkUsable(mmu, iter, newSpte);
  const found = cpu.cmpxchg(iter.sptep, iter.oldSpte, newSpte, "full") as Spte;
  if (isSameSpte(found, iter.oldSpte)) return true;
  iter.oldSpte = found;
  return false;
}

/** `tdp_mmu_set_spte_atomic`: the same with the bookkeeping, for holders of `mmu_lock` for read. */
export function tdpMmuSetSpteAtomic(mmu: TdpMmu, cpu: Cpu, iter: TdpIter, newSpte: Spte): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "read");
  const { asId, gfn, level, oldSpte } = iter;
  if (!tdpMmuTrySetSpte(mmu, cpu, iter, newSpte)) return false;
  handleChangedSpte(mmu, cpu, { asId, gfn, level, oldSpte, newSpte, shared: true });
  return true;
}

/**
 * `tdp_mmu_iter_set_spte`: replaces the entry under `mmu_lock` held for write, with the bookkeeping. The value that was
 * replaced decides, which may differ from the snapshot by what hardware or a lockless writer did meanwhile.
 */
export function tdpMmuIterSetSpte(mmu: TdpMmu, cpu: Cpu, iter: TdpIter, newSpte: Spte): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  checkUsable(mmu, iter, newSpte);
  const { asId, gfn, level } = iter;
  const oldSpte = kvmTdpMmuWriteSpte(mmu, cpu, iter.sptep, iter.oldSpte, newSpte, level);
  handleChangedSpte(mmu, cpu, { asId, gfn, level, oldSpte, newSpte, shared: false });
  iter.oldSpte = kvmTdpMmuReadSpte(cpu, iter.sptep);
}
