import { type Address, type Cpu, memberRequestsWord } from "@kvm-age/machine";
import {
  type KvmPageFault,
  kvmMmuHugepageAdjust,
  REQUEST_MMU_FREE_OBSOLETE_ROOTS,
  RetPf,
  traceKvmMmuSpteRequested,
} from "@kvm-age/page-fault";
import { type Gfn, gfnRoundForLevel, type PgLevel, PT32E_ROOT_LEVEL, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { gpteChanged } from "../guest-walk/gpte-changed.js";
import type { GuestWalk } from "../guest-walk/guest-walk.js";
import { accountNxHugePage } from "../huge/nx-huge-pages.js";
import { kvmMmuGetChildSp } from "../link/kvm-mmu-get-child-sp.js";
import { linkShadowPage } from "../link/link-shadow-page.js";
import { validateDirectSpte } from "../link/validate-direct-spte.js";
import { type KvmMmuPage, unsyncChildrenWord } from "../page/kvm-mmu-page.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSyncChildren } from "../unsync/mmu-sync-children.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { ShadowWalkIterator } from "../walk/shadow-walk-iterator.js";
import { clearSpWriteFloodingCount } from "./clear-sp-write-flooding-count.js";
import { shadowDisallowedHugepageAdjust } from "./direct-map.js";
import { indirectPtePrefetch } from "./indirect-prefetch.js";
import { mmuSetSpte } from "./mmu-set-spte.js";
import type { ShadowFaultResult } from "./shadow-fault-result.js";

/** One fault on its way down: what every step needs. Local to one operation. */
export interface IndirectFault {
  readonly fault: KvmPageFault;
  readonly walk: GuestWalk;
  readonly result: ShadowFaultResult;
}

/** Level of the guest's root table in memory: PAE has its third level in registers. */
function topLevel(walk: GuestWalk): PgLevel {
  const { level } = walk.walker;
  return level === PT32E_ROOT_LEVEL ? ((level - 1) as PgLevel) : level;
}

/**
 * Whether a page for the guest's next table may be used: its unsync children are synced and the guest's entry in it is still the one
 * that the walk read. A non-present entry is never cached by hardware, so the guest need not flush after it made the
 * entries below visible: they must be right when the page is linked.
 */
function mayUseChild(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  walk: GuestWalk,
  sp: KvmMmuPage | null,
  level: PgLevel,
): boolean {
  const hasUnsyncChildren = sp !== null && cpu.readOnce32(unsyncChildrenWord(sp)) !== 0;
  if (hasUnsyncChildren && mmuSyncChildren(mmu, cpu, vcpu, sp, false) !== 0) return false;
  return !gpteChanged(mmu, cpu, vcpu, walk, level);
}

/** Makes one entry above the guest's leaf point to the page of the guest's next table. False if the guest must try again. */
function shadowNextTable(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  { fault, walk, result }: IndirectFault,
  iterator: ShadowWalkIterator,
): boolean {
  const { sptep } = iterator;
  const level = (iterator.level - 1) as PgLevel;
  const tableGfn = walk.tableGfn[level]!;
  const sp = kvmMmuGetChildSp(mmu, cpu, vcpu, sptep, tableGfn, false, walk.ptAccess[level]!);
  if (!mayUseChild(mmu, cpu, vcpu, walk, sp, level)) return false;
  if (sp !== null) linkShadowPage(mmu, cpu, vcpu.pteListDescCache, sptep, sp, true);
  if (fault.write && tableGfn === fault.gfn) result.writeFaultToShadowPgtable = true;
  return true;
}

/** Shadows the guest's tables from the root to its leaf's. False if the guest must try again. */
function shadowGuestTables(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  indirect: IndirectFault,
  iterator: ShadowWalkIterator,
): boolean {
  while (iterator.okay()) {
    clearSpWriteFloodingCount(mmu, cpu, iterator.sptep);
    if (iterator.level === indirect.walk.level) return true;
    if (!shadowNextTable(mmu, cpu, vcpu, indirect, iterator)) return false;
    iterator.next(cpu.readOnce(iterator.sptep) as Spte);
  }
  // The root came into being without this table: its gfn was in no slot then, and is now.
  cpu.fetchOr32(memberRequestsWord(mmu.flushDomain, vcpu.id), REQUEST_MMU_FREE_OBSOLETE_ROOTS, "relaxed");
  return false;
}

/** Makes one entry between the guest's leaf and the goal level point to a linear table with the access of the guest's leaf. */
function splitGuestLeaf(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  { fault, walk }: IndirectFault,
  sptep: Address,
  level: PgLevel,
): void {
  const directAccess = walk.pteAccess;
  validateDirectSpte(mmu, cpu, vcpu, sptep, directAccess);
  const gfn = gfnRoundForLevel(fault.gfn, level);
  const sp = kvmMmuGetChildSp(mmu, cpu, vcpu, sptep, gfn, true, directAccess);
  if (sp === null) return;
  linkShadowPage(mmu, cpu, vcpu.pteListDescCache, sptep, sp, true);
  if (fault.hugePageDisallowed) accountNxHugePage(mmu, cpu, sp, fault.reqLevel >= level);
}

function installLeaf(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  { fault, walk }: IndirectFault,
  sptep: Address,
  level: PgLevel,
): RetPf {
  const gfn = gfnRoundForLevel(fault.gfn, level) as Gfn;
  const ret = mmuSetSpte(mmu, cpu, vcpu, fault.slot, sptep, walk.pteAccess, gfn, fault.pfn, fault);
  if (ret !== RetPf.spurious) indirectPtePrefetch(mmu, cpu, vcpu, walk, sptep);
  return ret;
}

/** From the guest's leaf down to the level that is mapped. */
function mapGuestLeaf(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  indirect: IndirectFault,
  iterator: ShadowWalkIterator,
): RetPf {
  const { fault } = indirect;
  for (; iterator.okay(); iterator.next(cpu.readOnce(iterator.sptep) as Spte)) {
    const { sptep, level } = iterator;
    if (mmu.nxHugePages) {
      shadowDisallowedHugepageAdjust(mmu, cpu, fault, cpu.readOnce(sptep) as Spte, level);
    }
    if (level === fault.goalLevel) return installLeaf(mmu, cpu, vcpu, indirect, sptep, level);
    splitGuestLeaf(mmu, cpu, vcpu, indirect, sptep, level);
  }
  throw new ShadowPageCorruptionError("walk ended above the goal level", {
    gfn: fault.gfn,
    goalLevel: fault.goalLevel,
  });
}

/**
 * `fetch`: maps the page of an indirect fault: a shadow page for every table that the guest's walk passed, each one compared with the
 * walk after it is write-protected or unsync, then the leaf. Held: `mmu_lock` for write, after the invalidation check, and
 * SRCU; the caches are topped up and pages are available.
 *
 * @returns `retry` if the guest's tables are no longer what the walk read, or the vCPU needs another root
 */
export function fetch(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, indirect: IndirectFault): RetPf {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const { fault, walk } = indirect;
  const context = vcpu.current(cpu);
  // The root's table is write-protected from now on, or the root is obsolete.
  if (gpteChanged(mmu, cpu, vcpu, walk, topLevel(walk))) return RetPf.retry;
  const iterator = new ShadowWalkIterator(mmu, fault.addr);
  iterator.start(cpu, context, context.rootHpa(cpu));
  if (!shadowGuestTables(mmu, cpu, vcpu, indirect, iterator)) return RetPf.retry;
  // Only now: what was shadowed on the way may not be mapped huge.
  kvmMmuHugepageAdjust(mmu, cpu, mmu.host, fault);
  if (cpu.tracing) traceKvmMmuSpteRequested(cpu, fault, walk.pteAccess);
  return mapGuestLeaf(mmu, cpu, vcpu, indirect, iterator);
}
