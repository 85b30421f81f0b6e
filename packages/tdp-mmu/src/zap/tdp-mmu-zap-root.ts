import type { Cpu } from "@kvm-age/machine";
import {
  type Gfn,
  isShadowPresentPte,
  PG_LEVEL_1G,
  PG_LEVEL_2M,
  PG_LEVEL_4K,
  type PgLevel,
  roleLevel,
  SHADOW_NONPRESENT_VALUE,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import { tdpMmuIterCondResched } from "../iterator/tdp-mmu-iter-cond-resched.js";
import { RootStateError } from "../page/errors.js";
import { type KvmMmuPage, rootCountWord, spRole } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { tdpMmuIterSetSpte, tdpMmuSetSpteAtomic } from "../write/tdp-mmu-set-spte.js";

/**
 * `__tdp_mmu_zap_root`: one pass that empties every entry at `zapLevel`. No flush is pending at a yield: whoever
 * loads a root flushes. A lost compare-exchange re-evaluates the same entry, with the yield check.
 */
function zapRootAtLevel(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, shared: boolean, zapLevel: PgLevel): void {
  const iter = new TdpIter(mmu.format);
  iter.start(cpu, root, zapLevel, 0 as Gfn);
  while (iter.valid && iter.gfn < mmu.maxGfnExclusive) {
    if (tdpMmuIterCondResched(mmu, cpu, iter, false, shared)) {
      iter.next(cpu);
      continue;
    }
    if (isShadowPresentPte(iter.oldSpte) && iter.level <= zapLevel) {
      if (!shared) tdpMmuIterSetSpte(mmu, cpu, iter, SHADOW_NONPRESENT_VALUE);
      else if (!tdpMmuSetSpteAtomic(mmu, cpu, iter, SHADOW_NONPRESENT_VALUE)) continue;
    }
    iter.next(cpu);
  }
}

/**
 * `tdp_mmu_zap_root`: empties a root, from small to large so that no single step tears down a big populated subtree, unless the MMU
 * is to be proved. No TLB flush.
 *
 * @throws RootStateError if the root has no reference.
 */
export function tdpMmuZapRoot(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, shared: boolean): void {
  if (cpu.readOnce32(rootCountWord(root)) === 0) throw new RootStateError("zapped without a reference", root);
  cpu.rcuReadLock();
  const small = mmu.options.proveMmu ? [] : [PG_LEVEL_4K, PG_LEVEL_2M];
  for (const level of [...small, PG_LEVEL_1G, roleLevel(spRole(cpu, root))])
    zapRootAtLevel(mmu, cpu, root, shared, level);
  cpu.rcuReadUnlock();
}
