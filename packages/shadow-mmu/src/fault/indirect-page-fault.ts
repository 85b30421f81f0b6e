import type { Cpu } from "@kvm-age/machine";
import { NULL_SLOT } from "@kvm-age/memslot";
import {
  type KvmPageFault,
  kvmMmuFinishPageFault,
  pageFaultHandlePageTrack,
  RetPf,
} from "@kvm-age/page-fault";
import type { RuleSet } from "@kvm-age/spte";
import type { GuestFault } from "../guest-walk/guest-fault.js";
import type { GuestWalk } from "../guest-walk/guest-walk.js";
import { walkAddr } from "../guest-walk/walk-addr.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { makeMmuPagesAvailable } from "../zap/make-mmu-pages-available.js";
import { shadowPageTableClearFlood } from "./clear-sp-write-flooding-count.js";
import { fetch, type IndirectFault } from "./fetch.js";
import { isPageFaultStale } from "./is-page-fault-stale.js";
import { shadowFaultinPfn } from "./shadow-faultin-pfn.js";

// The two error-code bits above 31 that say what part of a nested translation faulted.
const PFERR_GUEST_FINAL_MASK = 1n << 32n;
const PFERR_GUEST_PAGE_MASK = 1n << 33n;
/** Bits 7 and 8 of an exit qualification: the linear address is valid; it was translated, the final access faulted. */
const GVA_IS_VALID = 1n << 7n;
const GVA_TRANSLATED = 1n << 8n;

/**
 * `nested_ept_inject_page_fault`, `nested_svm_inject_npf_exit`: adds what only the real fault knows to one that L1 is told of: whether it
 * was met on the way to L2's page or to one of L2's page tables.
 */
function withHardwareBits(walk: GuestWalk, fault: GuestFault, errorCode: bigint): GuestFault {
  const final = (errorCode & PFERR_GUEST_FINAL_MASK) !== 0n;
  if (!fault.nested || !(final || (errorCode & PFERR_GUEST_PAGE_MASK) !== 0n)) return fault;
  if (!walk.walker.ept) {
    const where = final ? PFERR_GUEST_FINAL_MASK : PFERR_GUEST_PAGE_MASK;
    return { ...fault, errorCode: fault.errorCode + Number(where) };
  }
  // A misconfiguration has no qualification.
  if (fault.exitQualification === undefined) return fault;
  const exitQualification = fault.exitQualification | GVA_IS_VALID | (final ? GVA_TRANSLATED : 0n);
  return { ...fault, exitQualification };
}

/**
 * With CR0.WP clear a supervisor may write where the guest's entry has no W: the page is mapped writable, for the supervisor only, so
 * that user accesses still fault, and not executable if SMEP would have kept the supervisor from running a user page. Not for MMIO,
 * whose entry records the guest's own access.
 */
function accessWithoutWriteProtect(rules: RuleSet, fault: KvmPageFault, walk: GuestWalk): number {
  const { accWriteMask, accUserMask, accExecMask } = rules;
  const { walker, pteAccess } = walk;
  const readOnly = (pteAccess & accWriteMask) === 0;
  if (walker.ept || walker.cr0Wp || !fault.write || fault.user || !readOnly || fault.slot === NULL_SLOT) {
    return pteAccess;
  }
  const supervisor = (pteAccess | accWriteMask) & ~accUserMask;
  return walker.cr4Smep ? supervisor & ~accExecMask : supervisor;
}

/** The part under `mmu_lock`: the decisive check, the quota, the mapping. */
function fetchUnderLock(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, indirect: IndirectFault): RetPf {
  const { fault } = indirect;
  if (isPageFaultStale(mmu, cpu, vcpu, fault)) return RetPf.retry;
  if (!makeMmuPagesAvailable(mmu, cpu)) {
    fault.errno = "ENOSPC";
    return RetPf.error;
  }
  return fetch(mmu, cpu, vcpu, indirect);
}

/** Finds the host page of what the guest's tables map, and maps it. */
function mapIndirect(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, indirect: IndirectFault): RetPf {
  const { fault, walk } = indirect;
  if (pageFaultHandlePageTrack(mmu, cpu, fault)) {
    shadowPageTableClearFlood(mmu, cpu, vcpu, fault.addr);
    return RetPf.writeProtected;
  }
  vcpu.topUpMemoryCaches(cpu, true);
  const found = shadowFaultinPfn(mmu, cpu, vcpu, fault, walk.pteAccess);
  if (found !== RetPf.continue) return found;
  walk.pteAccess = accessWithoutWriteProtect(mmu.format.rules, fault, walk);
  const { pfn } = fault;
  cpu.writeLock(mmu.mmuLock);
  const ret = fetchUnderLock(mmu, cpu, vcpu, indirect);
  kvmMmuFinishPageFault(cpu, mmu.host, fault, pfn, ret);
  cpu.writeUnlock(mmu.mmuLock);
  return ret;
}

/**
 * `page_fault` of a context with guest tables: walks them, then maps what they lead to, or lets the guest have the fault. The vCPU is
 * outside the guest and has a root. Held: `kvm->srcu`, no spinning lock.
 *
 * @param errorCode of the hardware's fault, with the bits above 31
 */
export function indirectPageFault(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  indirect: Omit<IndirectFault, "walk">,
  errorCode: bigint,
): RetPf {
  const { fault, result } = indirect;
  // The walk looks at W, U and F: a reserved bit in an entry of KVM's own is no business of the guest's.
  const walk = walkAddr(mmu, cpu, vcpu, vcpu.current(cpu), fault.addr, fault.errorCode);
  if (walk.fault !== null) {
    if (!fault.prefetch) result.guestFault = withHardwareBits(walk, walk.fault, errorCode);
    return RetPf.retry;
  }
  fault.gfn = walk.gfn;
  fault.maxLevel = walk.level;
  fault.slot = mmu.memslots.gfnToMemslot(cpu, walk.asId, walk.gfn);
  return mapIndirect(mmu, cpu, vcpu, { ...indirect, walk });
}
