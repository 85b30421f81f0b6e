import type { Address, Cpu, ObjectCache } from "@kvm-age/machine";
import { isShadowPresentPte, makeNonleafSpte, roleAdDisabled, type Spte } from "@kvm-age/spte";
import { ShadowPageCorruptionError } from "../errors.js";
import { flushRemoteTlbsSptep } from "../flush/flush-remote-tlbs-sptep.js";
import { type KvmMmuPage, spRole, spSpt, unsyncChildrenWord, unsyncWord } from "../page/kvm-mmu-page.js";
import { sptepToSp } from "../page/sptep-to-sp.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteSet } from "../spte/mmu-spte-set.js";
import { markUnsync } from "../unsync/mark-unsync.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../zap/kvm-mmu-commit-zap-page.js";
import { mmuPageZapPte } from "../zap/kvm-mmu-prepare-zap-page.js";
import { mmuPageAddParentPte } from "./parent-ptes.js";

/**
 * `link_shadow_page`: makes the entry at `sptep` point to `sp`. What it held, a huge page or, after a lost race for the
 * page it shadows, another table, is removed first. Held: `mmu_lock` for write.
 *
 * @param cache stock of rmap descriptors
 * @param flush whether translations through a removed huge page are flushed now; not needed if `sp` maps all of it the same way
 * @throws ShadowPageCorruptionError if `sp` has unsync children: `mmuSyncChildren` comes first.
 */
export function linkShadowPage(
  mmu: ShadowMmu,
  cpu: Cpu,
  cache: ObjectCache,
  sptep: Address,
  sp: KvmMmuPage,
  flush: boolean,
): void {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const unsyncChildren = cpu.readOnce32(unsyncChildrenWord(sp));
  if (unsyncChildren !== 0) {
    throw new ShadowPageCorruptionError("linked before its children were synchronised", {
      sp,
      unsyncChildren,
    });
  }
  if (isShadowPresentPte(cpu.readOnce(sptep) as Spte)) replaceEntry(mmu, cpu, sptep, flush);
  const nonleaf = makeNonleafSpte(mmu.format, BigInt(spSpt(cpu, sp)), roleAdDisabled(spRole(cpu, sp)));
  mmuSpteSet(mmu, cpu, sptep, nonleaf);
  mmuPageAddParentPte(mmu, cpu, cache, sp, sptep);
  // A page found in the hash is up to date, and yet may be unsync: the new ancestors must know, or the next sync would miss
  // it.
  if (cpu.readOnce32(unsyncWord(sp)) !== 0) markUnsync(mmu, cpu, sptep);
}

function replaceEntry(mmu: ShadowMmu, cpu: Cpu, sptep: Address, flush: boolean): void {
  const invalidList = new InvalidList();
  mmuPageZapPte(mmu, cpu, sptepToSp(mmu, cpu, sptep), sptep, invalidList);
  if (!invalidList.isEmpty) kvmMmuCommitZapPage(mmu, cpu, invalidList);
  else if (flush) flushRemoteTlbsSptep(mmu, cpu, sptep);
}
