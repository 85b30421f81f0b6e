import type { Cpu } from "@kvm-age/machine";
import { checkMmioSpte, getMmioSpteAccess, getMmioSpteGfn, isMmioSpte } from "@kvm-age/spte";
import type { LocklessWalk } from "../fast/lockless-walk.js";
import type { KvmPageFault } from "../fault/kvm-page-fault.js";
import { RetPf } from "../fault/ret-pf.js";
import type { FaultingMmu } from "../mmu/faulting-mmu.js";
import { traceCheckMmioSpte, traceHandleMmioPageFault } from "../trace/trace-fault.js";

/**
 * `handle_mmio_page_fault`: answers a reserved-bit fault from the cached MMIO entry, without `mmu_lock`, by a lockless walk. The
 * entry is judged after the walk: it is a value by then, and whatever becomes of its word no longer matters.
 *
 * @param asId address space the vCPU is in
 * @param direct whether the vCPU's tables translate linearly; then the event shows no address
 * @returns `emulate` if the entry is of the current memslot generation; `invalid` if slots have changed since, which sends
 * the fault down the ordinary path; `retry` if the entry is no longer an MMIO one: somebody zapped it
 */
export function handleMmioPageFault(
  mmu: FaultingMmu,
  cpu: Cpu,
  fault: KvmPageFault,
  walk: LocklessWalk,
  asId: number,
  direct: boolean,
): RetPf {
  const { format } = mmu;
  walk.begin(cpu);
  const { oldSpte } = walk.lastSpte(cpu, fault);
  walk.end(cpu);
  if (!isMmioSpte(format, oldSpte)) return RetPf.retry;
  const generation = mmu.memslots.generation(cpu, asId);
  if (cpu.tracing) traceCheckMmioSpte(format, cpu, oldSpte, generation);
  if (!checkMmioSpte(format, oldSpte, generation)) return RetPf.invalid;
  if (cpu.tracing) {
    const gfn = getMmioSpteGfn(format, oldSpte);
    traceHandleMmioPageFault(cpu, direct ? 0 : fault.addr, gfn, getMmioSpteAccess(format, oldSpte));
  }
  return RetPf.emulate;
}
