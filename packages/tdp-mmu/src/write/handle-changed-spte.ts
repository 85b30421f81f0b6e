import { type Address, type Cpu, offset } from "@kvm-age/machine";
import { SpteCorruptionError } from "@kvm-age/page-fault";
import {
  checkSpteWritableInvariants,
  type Gfn,
  isFrozenSpte,
  isLastSpte,
  isMmioSpte,
  isShadowPresentPte,
  kvmPagesPerHpage,
  type PgLevel,
  roleLevel,
  type Spte,
  spteToPfn,
} from "@kvm-age/spte";
import { unaccountNxHugePage } from "../huge/nx-huge-pages.js";
import { type KvmMmuPage, spGfn, spRole, spSpt } from "../page/kvm-mmu-page.js";
import { tdpUnaccountMmuPage } from "../page/tdp-account-mmu-page.js";
import { sptepToSp } from "../page/tdp-mmu-sp.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { traceKvmMmuPrepareZapPage } from "../trace/trace-kvm-mmu-page.js";
import { traceTdpMmuSpteChanged } from "../trace/trace-tdp-mmu-spte-changed.js";
import { kvmTdpMmuReadSpte, kvmTdpMmuWriteSpte, kvmTdpMmuWriteSpteAtomic } from "./tdp-spte-access.js";

/** One change of an entry, for the bookkeeping after it. */
export interface SpteChange {
  readonly asId: number;
  readonly gfn: Gfn;
  readonly level: PgLevel;
  readonly oldSpte: Spte;
  readonly newSpte: Spte;
  /** `mmu_lock` is held for read; else for write. */
  readonly shared: boolean;
}

function corrupt(what: string, change: SpteChange): SpteCorruptionError {
  return new SpteCorruptionError(what, change.gfn, change.level, change.oldSpte, change.newSpte);
}

/** The conditions that the kernel turns into warnings or a stop of the host. */
function checkChange(mmu: TdpMmu, change: SpteChange): void {
  const { oldSpte, newSpte, level, gfn } = change;
  const { format } = mmu;
  if (level < 1 || level > 5 || gfn % kvmPagesPerHpage(level) !== 0) {
    throw corrupt("gfn or level of a change is out of range", change);
  }
  const wasLeaf = isShadowPresentPte(oldSpte) && isLastSpte(oldSpte, level);
  const isLeaf = isShadowPresentPte(newSpte) && isLastSpte(newSpte, level);
  if (wasLeaf && isLeaf && spteToPfn(format, oldSpte) !== spteToPfn(format, newSpte)) {
    throw corrupt("present leaf replaced by another pfn: an invalidation was missed", change);
  }
  if (isLeaf && !checkSpteWritableInvariants(format, newSpte)) throw corrupt("writability bits", change);
  if (!isShadowPresentPte(oldSpte) && !isShadowPresentPte(newSpte)) {
    const expected =
      isMmioSpte(format, oldSpte) || isMmioSpte(format, newSpte) || isFrozenSpte(format, newSpte);
    if (!expected) throw corrupt("non-present entry replaced by a non-present one", change);
  }
}

/** True if the change took a table out of the tree. */
function removedTable(mmu: TdpMmu, change: SpteChange): boolean {
  const { oldSpte, newSpte, level } = change;
  if (!isShadowPresentPte(oldSpte) || isLastSpte(oldSpte, level)) return false;
  if (!isShadowPresentPte(newSpte) || isLastSpte(newSpte, level)) return true;
  return spteToPfn(mmu.format, oldSpte) !== spteToPfn(mmu.format, newSpte);
}

/** `kvm_update_page_stats`, if the change made or unmade a leaf. */
function updatePageStatistics(mmu: TdpMmu, cpu: Cpu, change: SpteChange): void {
  const wasLeaf = isShadowPresentPte(change.oldSpte) && isLastSpte(change.oldSpte, change.level);
  const isLeaf = isShadowPresentPte(change.newSpte) && isLastSpte(change.newSpte, change.level);
  if (wasLeaf === isLeaf) return;
  cpu.fetchAdd32(mmu.statistics.pageWord(change.level), isLeaf ? 1 : -1, "relaxed");
}

/**
 * `handle_changed_spte`: bookkeeping after an entry has changed, whoever changed it, except for aging and the fast page
 * fault. The order of teardown and event is the rule set's.
 *
 * @throws SpteCorruptionError for a change that no correct caller makes.
 */
export function handleChangedSpte(mmu: TdpMmu, cpu: Cpu, change: SpteChange): void {
  if (change.oldSpte === change.newSpte) return;
  checkChange(mmu, change);
  const removed = removedTable(mmu, change);
  const teardownFirst = mmu.format.rules.tdpTeardownOrder === "before-event";
  if (removed && teardownFirst) removeTableOf(mmu, cpu, change);
  if (cpu.tracing) {
    traceTdpMmuSpteChanged(cpu, change.asId, change.gfn, change.level, change.oldSpte, change.newSpte);
  }
  updatePageStatistics(mmu, cpu, change);
  if (removed && !teardownFirst) removeTableOf(mmu, cpu, change);
}

function removeTableOf(mmu: TdpMmu, cpu: Cpu, change: SpteChange): void {
  const table = (spteToPfn(mmu.format, change.oldSpte) * 4096) as Address;
  handleRemovedPt(mmu, cpu, sptepToSp(mmu, cpu, table), change.asId, change.shared);
}

/**
 * `handle_removed_pt`: tears down a table that has just been unlinked, and everything below it. Every entry becomes
 * FROZEN, so that a thread that still stands in the table gives up; then the table goes through RCU.
 */
function handleRemovedPt(mmu: TdpMmu, cpu: Cpu, sp: KvmMmuPage, asId: number, shared: boolean): void {
  if (cpu.tracing) traceKvmMmuPrepareZapPage(mmu, cpu, sp);
  tdpUnaccountMmuPage(mmu, cpu);
  unaccountNxHugePage(mmu, cpu, sp);
  const level = roleLevel(spRole(cpu, sp));
  const base = spGfn(cpu, sp);
  const spt = spSpt(cpu, sp);
  for (let index = 0; index < 512; index++) {
    const gfn = (base + index * kvmPagesPerHpage(level)) as Gfn;
    const sptep = offset(spt, index * 8);
    const oldSpte = shared ? freezeShared(mmu, cpu, sptep) : freezeExclusive(mmu, cpu, sptep, level);
    if (oldSpte === null) continue;
    handleChangedSpte(mmu, cpu, { asId, gfn, level, oldSpte, newSpte: mmu.format.frozenSpte, shared });
  }
  cpu.callRcu(sp, mmu.freeSpCallback);
}

/**
 * Freezes an entry that other readers of `mmu_lock` may be changing. If one of them holds it frozen in the middle of an
 * update, it will store its result: wait for that, and freeze the result.
 */
function freezeShared(mmu: TdpMmu, cpu: Cpu, sptep: Address): Spte {
  for (;;) {
    const oldSpte = kvmTdpMmuWriteSpteAtomic(mmu, cpu, sptep, mmu.format.frozenSpte);
    if (!isFrozenSpte(mmu.format, oldSpte)) return oldSpte;
    cpu.relax(sptep);
  }
}

/**
 * Freezes a present entry with no other lock holder about; null for an entry that is not present, which stays. An
 * exchange where needed all the same: hardware may reach the leaf through a cached upper entry and set D until the flush.
 */
function freezeExclusive(mmu: TdpMmu, cpu: Cpu, sptep: Address, level: PgLevel): Spte | null {
  const oldSpte = kvmTdpMmuReadSpte(cpu, sptep);
  if (!isShadowPresentPte(oldSpte)) return null;
  return kvmTdpMmuWriteSpte(mmu, cpu, sptep, oldSpte, mmu.format.frozenSpte, level);
}
