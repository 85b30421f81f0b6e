import type { Cpu } from "@kvm-age/machine";
import { markSpteForAccessTrack, type Spte, spteAdEnabled } from "@kvm-age/spte";
import type { TdpIter } from "../iterator/tdp-iter.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceTdpMmuSpteChanged } from "../trace/trace-tdp-mmu-spte-changed.js";
import { isSameSpte } from "../write/is-same-spte.js";
import {
  kvmTdpMmuWriteSpte,
  tdpMmuClearSpteBits,
  tdpMmuClearSpteBitsAtomic,
} from "../write/tdp-spte-access.js";

function traceAged(cpu: Cpu, iter: TdpIter, oldSpte: Spte, newSpte: Spte): void {
  if (cpu.tracing) traceTdpMmuSpteChanged(cpu, iter.asId, iter.gfn, iter.level, oldSpte, newSpte);
}

/**
 * `kvm_tdp_mmu_age_spte` without `mmu_lock`, for a snapshot that is an accessed leaf.
 *
 * Compare-exchange, not retried (7.3; 6.15 for entries without hardware A/D): if the entry changed since the snapshot (zapped,
 * frozen, made writable, split, aged by another), the newer value stays and the page counts as young this once.
 *
 * Unconditional AND (6.15 for entries with hardware A/D): clears A of whatever is there. D and W, which others may have set
 * meanwhile, survive; a zapped entry has no A to lose. A frozen entry has: the AND then destroys the sentinel, inside a
 * table that is being torn down (hazard D1, closed in 7.3).
 */
export function ageSpteLockless(mmu: TdpMmu, cpu: Cpu, iter: TdpIter): void {
  const { format } = mmu;
  const snapshot = iter.oldSpte;
  if (format.rules.agingUpdate === "fetch-and" && spteAdEnabled(format, snapshot)) {
    const found = tdpMmuClearSpteBitsAtomic(cpu, iter.sptep, format.shadowAccessedMask);
    traceAged(cpu, iter, found, BigInt.asUintN(64, found & ~format.shadowAccessedMask) as Spte);
    return;
  }
  const aged = markSpteForAccessTrack(format, snapshot);
  const found = cpu.cmpxchg(iter.sptep, snapshot, aged, "full") as Spte;
  if (isSameSpte(found, snapshot)) traceAged(cpu, iter, snapshot, aged);
}

/**
 * The same as a holder of `mmu_lock` for write did it before 6.15: by a plain store where the volatile rule sees nothing to
 * lose. What lockless fast page faults and hardware did since the snapshot is kept by the rule's exchange.
 */
export function ageSpteUnderMmuLock(mmu: TdpMmu, cpu: Cpu, iter: TdpIter): void {
  const { format } = mmu;
  const snapshot = iter.oldSpte;
  if (spteAdEnabled(format, snapshot)) {
    const mask = format.shadowAccessedMask;
    const found = tdpMmuClearSpteBits(mmu, cpu, iter.sptep, snapshot, mask, iter.level);
    traceAged(cpu, iter, found, BigInt.asUintN(64, found & ~mask) as Spte);
    return;
  }
  const aged = markSpteForAccessTrack(format, snapshot);
  const found = kvmTdpMmuWriteSpte(mmu, cpu, iter.sptep, snapshot, aged, iter.level);
  traceAged(cpu, iter, found, aged);
}
