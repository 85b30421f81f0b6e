import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { KvmPageFault, LastSpte, LocklessWalk } from "@kvm-age/page-fault";
import { PG_LEVEL_4K } from "@kvm-age/spte";
import { rootOfVcpu } from "../root/kvm-tdp-mmu-alloc-root.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { TdpIter } from "./tdp-iter.js";

/** `kvm_tdp_mmu_walk_lockless_begin` and `_end`: one vCPU's walks without `mmu_lock` are RCU read sections. */
export class TdpLocklessWalk implements LocklessWalk {
  constructor(
    private readonly mmu: TdpMmu,
    private readonly vcpu: TdpMmuVcpu,
  ) {}

  begin(cpu: Cpu): void {
    cpu.rcuReadLock();
  }

  /** `kvm_tdp_mmu_fast_pf_get_last_sptep`: the lowest entry on the path of the fault's gfn, from the vCPU's root. */
  lastSpte(cpu: Cpu, fault: KvmPageFault): LastSpte {
    const { mmu } = this;
    const { gfn } = fault;
    const iter = new TdpIter(mmu.format);
    let last: LastSpte = { sptep: NULL_ADDRESS, oldSpte: mmu.format.frozenSpte, level: mmu.rootLevel };
    const root = rootOfVcpu(mmu, cpu, this.vcpu);
    for (iter.start(cpu, root, PG_LEVEL_4K, gfn); iter.valid && iter.gfn <= gfn; iter.next(cpu)) {
      last = { sptep: iter.sptep, oldSpte: iter.oldSpte, level: iter.level };
    }
    return last;
  }

  end(cpu: Cpu): void {
    cpu.rcuReadUnlock();
  }
}
