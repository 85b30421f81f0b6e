import { type Address, type Cpu, offset } from "@kvm-age/machine";
import {
  type Gfn,
  isAccessedSpte,
  isLargePte,
  isShadowPresentPte,
  PG_LEVEL_2M,
  SPTE_MMU_PRESENT_MASK,
  spteToPfn,
} from "@kvm-age/spte";
import { TdpIter } from "../iterator/tdp-iter.js";
import type { KvmMmuPage } from "../page/kvm-mmu-page.js";
import type { TdpMmu } from "../tdp-mmu.js";
import { ageSpteLockless } from "./age-spte.js";

const ENTRIES = 512;

/**
 * `ageRootByIterator` for a root whose leaves have hardware A bits, with the 4K leaves of each table aged by one native loop: the
 * iterator goes down to 2M entries only: 0.7 ns an entry instead of 8 over 4 Mi leaves, none young (Node 20, 2026-11).
 *
 * A table found through a 2M entry is entered once without looking at the entry again; it may be unlinked by then, as it may
 * be under the iterator after its own look. RCU keeps it, and its entries are frozen or empty.
 */
export function ageRootNatively(mmu: TdpMmu, cpu: Cpu, root: KvmMmuPage, start: Gfn, end: Gfn): boolean {
  const { format } = mmu;
  const iter = new TdpIter(format);
  let young = false;
  for (iter.start(cpu, root, PG_LEVEL_2M, start); iter.valid && iter.gfn < end; iter.next(cpu)) {
    const spte = iter.oldSpte;
    if (!isShadowPresentPte(spte)) continue;
    if (isLargePte(spte)) {
      if (!isAccessedSpte(format, spte)) continue;
      young = true;
      ageSpteLockless(mmu, cpu, iter);
    } else if (iter.level === PG_LEVEL_2M) {
      const table = (spteToPfn(format, spte) * 4096) as Address;
      if (ageTable(mmu, cpu, table, iter.gfn, start, end) > 0) young = true;
    }
  }
  return young;
}

/** Ages the entries of one table of 4K leaves that lie in [start, end); returns how many were accessed. */
function ageTable(mmu: TdpMmu, cpu: Cpu, table: Address, tableGfn: Gfn, start: Gfn, end: Gfn): number {
  const { shadowAccessedMask, rules } = mmu.format;
  const first = Math.max(0, start - tableGfn);
  const last = Math.min(ENTRIES, end - tableGfn);
  const accessedLeaf = BigInt.asUintN(64, SPTE_MMU_PRESENT_MASK | shadowAccessedMask);
  return cpu.clearBitsWhere(
    offset(table, first * 8),
    last - first,
    accessedLeaf,
    accessedLeaf,
    shadowAccessedMask,
    rules.agingUpdate,
  );
}
