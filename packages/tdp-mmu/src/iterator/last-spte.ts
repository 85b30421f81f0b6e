import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { type Gfn, PG_LEVEL_4K, type PgLevel, type Spte } from "@kvm-age/spte";
import { rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { TdpIter } from "./tdp-iter.js";

/** The entry at the end of the walk for a gfn, as it was seen. */
export interface LastSpte {
  readonly sptep: Address;
  readonly oldSpte: Spte;
  readonly level: PgLevel;
}

/**
 * `kvm_tdp_mmu_fast_pf_get_last_sptep`: the lowest entry on the path of `gfn`. In an RCU read section: the table may be
 * unlinked, but not freed, before the entry is used.
 */
export function getLastSptep(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, gfn: Gfn): LastSpte {
  const iter = new TdpIter(mmu.format);
  let last: LastSpte = { sptep: NULL_ADDRESS, oldSpte: mmu.format.frozenSpte, level: mmu.rootLevel };
  const root = rootOfVcpu(mmu, cpu, vcpu);
  for (iter.start(cpu, root, PG_LEVEL_4K, gfn); iter.valid && iter.gfn <= gfn; iter.next(cpu)) {
    last = { sptep: iter.sptep, oldSpte: iter.oldSpte, level: iter.level };
  }
  return last;
}
