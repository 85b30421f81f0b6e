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
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import { RetPf } from "../fault/ret-pf.js";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";
import type { LastSpte, LocklessWalk } from "./lockless-walk.js";
import { pageFaultCanBeFast } from "./page-fault-can-be-fast.js";

const MAX_ATTEMPTS = 5;
const PT_WRITABLE_MASK = 2n;

/** The entry with what the fault asks for, or null if the slow path must do it. */
function fixedSpte(mmu: FaultingMmu, cpu: Cpu, fault: KvmPageFault, spte: Spte, level: PgLevel): Spte | null {
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
function attempt(mmu: FaultingMmu, cpu: Cpu, fault: KvmPageFault, last: LastSpte): RetPf | null {
  const { oldSpte, level } = last;
  if (!isShadowPresentPte(oldSpte) || !isLastSpte(oldSpte, level)) return RetPf.invalid;
  if (isAccessAllowed(mmu.format, fault, oldSpte)) return RetPf.spurious;
  const fixed = fixedSpte(mmu, cpu, fault, oldSpte, level);
  if (fixed === null) return RetPf.invalid;
  return fastPfFixDirectSpte(cpu, fault, last, fixed) ? RetPf.fixed : null;
}

function traceFastPageFault(
  cpu: Cpu,
  vcpuId: number,
  fault: KvmPageFault,
  last: LastSpte,
  result: RetPf,
): void {
  cpu.trace({
    name: "fast_page_fault",
    fields: {
      vcpu: vcpuId,
      gva: BigInt(fault.addr),
      error_code: BigInt(fault.errorCode),
      sptep: BigInt(last.sptep),
      old_spte: last.oldSpte,
      new_spte: last.sptep === NULL_ADDRESS ? 0n : cpu.readOnce(last.sptep),
      spurious: result === RetPf.spurious,
      fixed: result === RetPf.fixed,
    },
  });
}

/**
 * `fast_page_fault`: answers a fault without `mmu_lock`, inside a lockless walk: gives W back to an entry that lost it only for
 * dirty logging, restores one that aging hid, or finds that somebody else did. `RetPf.invalid` sends the fault down the slow
 * path. Several vCPUs may try at once: one wins the exchange, the others find the access allowed.
 *
 * For direct maps only: in a table that shadows one of the guest's, an entry may come to mean another gfn between the look and
 * the exchange, and the wrong page would be logged.
 *
 * @param vcpuId number of the vCPU, for the event
 */
export function fastPageFault(
  mmu: FaultingMmu,
  cpu: Cpu,
  vcpuId: number,
  fault: KvmPageFault,
  walk: LocklessWalk,
): RetPf {
  if (!pageFaultCanBeFast(mmu, fault)) return RetPf.invalid;
  walk.begin(cpu);
  let last = walk.lastSpte(cpu, fault);
  let result = attempt(mmu, cpu, fault, last);
  for (let attempts = 1; result === null && attempts < MAX_ATTEMPTS; attempts++) {
    last = walk.lastSpte(cpu, fault);
    result = attempt(mmu, cpu, fault, last);
  }
  const final = result ?? RetPf.invalid;
  if (cpu.tracing) traceFastPageFault(cpu, vcpuId, fault, last, final);
  walk.end(cpu);
  if (final !== RetPf.invalid) cpu.fetchAdd32(mmu.statistics.word("pf_fast"), 1, "relaxed");
  return final;
}
