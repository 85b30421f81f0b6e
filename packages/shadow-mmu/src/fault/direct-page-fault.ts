import type { Cpu } from "@kvm-age/machine";
import {
  fastPageFault,
  type KvmPageFault,
  kvmMmuFinishPageFault,
  pageFaultHandlePageTrack,
  RetPf,
} from "@kvm-age/page-fault";
import { ShadowPageCorruptionError } from "../errors.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { makeMmuPagesAvailable } from "../zap/make-mmu-pages-available.js";
import { directMap } from "./direct-map.js";
import { isPageFaultStale } from "./is-page-fault-stale.js";
import { shadowFaultinPfn } from "./shadow-faultin-pfn.js";
import { ShadowLocklessWalk } from "./shadow-lockless-walk.js";

/** The part under `mmu_lock`: the decisive check, the quota, the mapping. */
function mapUnderLock(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, fault: KvmPageFault): RetPf {
  if (isPageFaultStale(mmu, cpu, vcpu, fault)) return RetPf.retry;
  if (!makeMmuPagesAvailable(mmu, cpu)) {
    fault.errno = "ENOSPC";
    return RetPf.error;
  }
  return directMap(mmu, cpu, vcpu, fault);
}

/**
 * `direct_page_fault`: handles a fault of a context that translates guest-physical addresses linearly: two-dimensional paging without
 * the TDP MMU, or a guest with paging off, whose tables have three levels and map 2 MiB at most. The vCPU is outside the guest and has
 * a root; `fault.slot` and `fault.maxLevel` are set. Held: `kvm->srcu`, no spinning lock.
 *
 * @returns `error` leaves the reason in `fault.errno`: ENOSPC if the quota of shadow pages is used up by roots
 */
export function directPageFault(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, fault: KvmPageFault): RetPf {
  if (vcpu.current(cpu).rootHpa(cpu) === mmu.zeroPage(cpu)) {
    throw new ShadowPageCorruptionError("linear context with a dummy root", { addr: fault.addr });
  }
  if (pageFaultHandlePageTrack(mmu, cpu, fault)) return RetPf.writeProtected;
  const fast = fastPageFault(mmu, cpu, vcpu.id, fault, new ShadowLocklessWalk(mmu, vcpu));
  if (fast !== RetPf.invalid) return fast;
  vcpu.topUpMemoryCaches(cpu, false);
  const found = shadowFaultinPfn(mmu, cpu, vcpu, fault, mmu.format.rules.accAll);
  if (found !== RetPf.continue) return found;
  const { pfn } = fault;
  cpu.writeLock(mmu.mmuLock);
  const result = mapUnderLock(mmu, cpu, vcpu, fault);
  kvmMmuFinishPageFault(cpu, mmu.host, fault, pfn, result);
  cpu.writeUnlock(mmu.mmuLock);
  return result;
}
