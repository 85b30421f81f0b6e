import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { kvmSlotDirtyTrackEnabled, markPageDirtyInSlot } from "@kvm-age/memslot";
import {
  isAccessAllowed,
  isAccessTrackSpte,
  isLastSpte,
  isMmuWritableSpte,
  isShadowPresentPte,
  isWritablePte,
  PG_LEVEL_4K,
  type PgLevel,
  restoreAccTrackSpte,
  type Spte,
} from "@kvm-age/spte";
import { getLastSptep, type LastSpte } from "../iterator/last-spte.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import { kvmTdpMmuReadSpte } from "../write/tdp-spte-access.js";
import type { KvmPageFault } from "./kvm-page-fault.js";
import { RetPf } from "./ret-pf.js";

const MAX_ATTEMPTS = 5;
const PT_WRITABLE_MASK = 2n;

/**
 * `page_fault_can_be_fast`: a fault that an entry's own bits may answer: a write to a present page, or, without hardware A/D
 * bits, an access to a page whose permissions aging has hidden.
 */
export function pageFaultCanBeFast(mmu: TdpMmu, fault: KvmPageFault): boolean {
  if (fault.rsvd) return false;
  if (!fault.present) return !mmu.format.kvmAdEnabled;
  return fault.write;
}

/** The entry with what the fault asks for, or null if the slow path must do it. */
function fixedSpte(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, spte: Spte, level: PgLevel): Spte | null {
  const { format } = mmu;
  let fixed = spte;
  if (!format.kvmAdEnabled && isAccessTrackSpte(format, spte)) {
    fixed = BigInt.asUintN(64, restoreAccTrackSpte(format, spte) | format.shadowAccessedMask) as Spte;
  }
  if (fault.write && isMmuWritableSpte(format, spte)) {
    // A huge page that is dirty-logged must be split by the slow path.
    if (level > PG_LEVEL_4K && kvmSlotDirtyTrackEnabled(cpu, fault.slot)) return null;
    fixed = BigInt.asUintN(64, fixed | PT_WRITABLE_MASK) as Spte;
  }
  return fixed === spte || !isAccessAllowed(format, fault, fixed) ? null : fixed;
}

/**
 * `fast_pf_fix_direct_spte`: one compare-exchange on the whole value, without `mmu_lock`. It fails if anything changed, so
 * permission is never given back to an entry that was zapped or write-protected for page tables meanwhile.
 */
function fastPfFixDirectSpte(cpu: Cpu, fault: KvmPageFault, last: LastSpte, fixed: Spte): boolean {
  const { oldSpte } = last;
  if (cpu.cmpxchg(last.sptep, oldSpte, fixed, "full") !== oldSpte) return false;
  if (isWritablePte(fixed) && !isWritablePte(oldSpte)) markPageDirtyInSlot(cpu, fault.slot, fault.gfn);
  return true;
}

/** One attempt; null asks for another. */
function attempt(mmu: TdpMmu, cpu: Cpu, fault: KvmPageFault, last: LastSpte): RetPf | null {
  const { oldSpte, level } = last;
  if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, level)) return RetPf.invalid;
  if (isAccessAllowed(mmu.format, fault, oldSpte)) return RetPf.spurious;
  const fixed = fixedSpte(mmu, cpu, fault, oldSpte, level);
  if (fixed === null) return RetPf.invalid;
  return fastPfFixDirectSpte(cpu, fault, last, fixed) ? RetPf.fixed : null;
}

function traceFastPageFault(
  cpu: Cpu,
  vcpu: TdpMmuVcpu,
  fault: KvmPageFault,
  last: LastSpte,
  result: RetPf,
): void {
  cpu.trace({
    name: "fast_page_fault",
    fields: {
      vcpu: vcpu.id,
      gva: fault.addr,
      error_code: fault.errorCode,
      sptep: last.sptep,
      old_spte: last.oldSpte,
      new_spte: last.sptep === NULL_ADDRESS ? 0n : kvmTdpMmuReadSpte(cpu, last.sptep),
      spurious: result === RetPf.spurious,
      fixed: result === RetPf.fixed,
    },
  });
}

/**
 * `fast_page_fault`: answers a fault without `mmu_lock`, under RCU: gives W back to an entry that lost it only for dirty logging,
 * restores one that aging hid, or finds that somebody else did. `RetPf.invalid` sends the fault down the slow path. Several
 * vCPUs may try at once: one wins the exchange, the others find the access allowed.
 */
export function fastPageFault(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault): RetPf {
  if (!pageFaultCanBeFast(mmu, fault)) return RetPf.invalid;
  cpu.rcuReadLock();
  let last = getLastSptep(mmu, cpu, vcpu, fault.gfn);
  let result = attempt(mmu, cpu, fault, last);
  for (let attempts = 1; result === null && attempts < MAX_ATTEMPTS; attempts++) {
    last = getLastSptep(mmu, cpu, vcpu, fault.gfn);
    result = attempt(mmu, cpu, fault, last);
  }
  const final = result ?? RetPf.invalid;
  if (cpu.tracing) traceFastPageFault(cpu, vcpu, fault, last, final);
  cpu.rcuReadUnlock();
  if (final !== RetPf.invalid) cpu.fetchAdd32(mmu.statisticWord("pf_fast"), 1, "relaxed");
  return final;
}
