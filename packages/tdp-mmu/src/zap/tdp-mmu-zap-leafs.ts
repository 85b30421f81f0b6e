import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { KvmGfnRange } from "@kvm-age/memslot";
import { slotAsId } from "@kvm-age/memslot";
import {
  type Gfn,
  isLastSpte,
  isShadowPresentPte,
  PG_LEVEL_4K,
  roleInvalid,
  SHADOW_NONPRESENT_VALUE,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import { type KvmMmuPage, spRole } from "../page/kvm-mmu-page.js";
import { tdpMmuNextRoot } from "../root/root-reference.js";
import { ANY_AS_ID, KVM_ALL_ROOTS, KVM_VALID_ROOTS } from "../root/root-types.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuIterSetSpte } from "../write/tdp-mmu-set-spte.js";

const NO_ROOT = NULL_ADDRESS as KvmMmuPage;

/**
 * `tdp_mmu_zap_leafs`: empties every leaf of one root in [start, end). Tables stay, so the flush may wait until
 * `mmu_lock` is dropped. Returns whether one is needed, `flush` included; leaves of an invalid root need none, since no
 * vCPU goes on with it without a flush.
 */
function tdpMmuZapLeafs(
  mmu: TdpMmu,
  cpu: Cpu,
  root: KvmMmuPage,
  start: Gfn,
  end: Gfn,
  canYield: boolean,
  flush: boolean,
): boolean {
  const bound = Math.min(end, mmu.maxGfnExclusive);
  const rootIsValid = !roleInvalid(mmu.format.rules, spRole(cpu, root));
  let needsFlush = flush;
  cpu.rcuReadLock();
  const iter = new TdpIter(mmu.format);
  for (iter.start(cpu, root, PG_LEVEL_4K, start); iter.valid && iter.gfn < bound; iter.next(cpu)) {
    if (canYield && tdpMmuIterCondResched(mmu, cpu, iter, needsFlush, false)) {
      needsFlush = false;
      continue;
    }
    if (!isShadowPresentPte(iter.oldSpte) || !isLastSpte(iter.oldSpte, iter.level)) continue;
    tdpMmuIterSetSpte(mmu, cpu, iter, SHADOW_NONPRESENT_VALUE);
    if (rootIsValid) needsFlush = true;
  }
  cpu.rcuReadUnlock();
  return needsFlush;
}

/**
 * `kvm_tdp_mmu_zap_leafs`: empties the leaves of a gfn range in every valid root. `mmu_lock` held for write; may yield.
 * Returns whether a flush is needed before the lock is dropped.
 */
export function kvmTdpMmuZapLeafs(mmu: TdpMmu, cpu: Cpu, start: Gfn, end: Gfn, flush: boolean): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  let needsFlush = flush;
  let root = tdpMmuNextRoot(mmu, cpu, NO_ROOT, ANY_AS_ID, KVM_VALID_ROOTS);
  while (root !== NO_ROOT) {
    needsFlush = tdpMmuZapLeafs(mmu, cpu, root, start, end, true, needsFlush);
    root = tdpMmuNextRoot(mmu, cpu, root, ANY_AS_ID, KVM_VALID_ROOTS);
  }
  return needsFlush;
}

/**
 * `kvm_tdp_mmu_unmap_gfn_range`: empties the leaves of a slot's range, in invalid roots as well: they may map the page
 * until their own zap is done, and the host is about to free it. `mmu_lock` held for write; yields only if the
 * range may block.
 */
export function kvmTdpMmuUnmapGfnRange(mmu: TdpMmu, cpu: Cpu, range: KvmGfnRange, flush: boolean): boolean {
  cpu.lockdep.assertHeld(mmu.mmuLock, "write");
  const asId = slotAsId(cpu, range.slot);
  let needsFlush = flush;
  let root = tdpMmuNextRoot(mmu, cpu, NO_ROOT, asId, KVM_ALL_ROOTS);
  while (root !== NO_ROOT) {
    needsFlush = tdpMmuZapLeafs(mmu, cpu, root, range.start, range.end, range.mayBlock, needsFlush);
    root = tdpMmuNextRoot(mmu, cpu, root, asId, KVM_ALL_ROOTS);
  }
  return needsFlush;
}
