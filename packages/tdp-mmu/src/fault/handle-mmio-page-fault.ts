import type { Cpu } from "@kvm-age/machine";
import { checkMmioSpte, getMmioSpteAccess, getMmioSpteGfn, isMmioSpte } from "@kvm-age/spte";
import { getLastSptep } from "../iterator/last-spte.js";
import type { TdpMmu } from "../tdp-mmu.js";
import type { TdpMmuVcpu } from "../vcpu/tdp-mmu-vcpu.js";
import type { KvmPageFault } from "./kvm-page-fault.js";
import { RetPf } from "./ret-pf.js";

/**
 * `handle_mmio_page_fault`: answers a reserved-bit fault from the cached MMIO entry, without `mmu_lock`, by a walk under RCU.
 *
 * @returns `emulate` if the entry is of the current memslot generation; `invalid` if slots have changed since, which sends
 * the fault down the ordinary path; `retry` if the entry is no longer an MMIO one: somebody zapped it
 */
export function handleMmioPageFault(mmu: TdpMmu, cpu: Cpu, vcpu: TdpMmuVcpu, fault: KvmPageFault): RetPf {
  const { format } = mmu;
  cpu.rcuReadLock();
  const { oldSpte } = getLastSptep(mmu, cpu, vcpu, fault.gfn);
  cpu.rcuReadUnlock();
  if (!isMmioSpte(format, oldSpte)) return RetPf.retry;
  const generation = mmu.memslots.generation(cpu, cpu.readOnce32(vcpu.inSmmWord));
  if (!checkMmioSpte(format, oldSpte, generation)) return RetPf.invalid;
  if (cpu.tracing) {
    const gfn = getMmioSpteGfn(format, oldSpte);
    const access = getMmioSpteAccess(format, oldSpte);
    cpu.trace({ name: "handle_mmio_page_fault", fields: { addr: fault.addr, gfn, access } });
  }
  return RetPf.emulate;
}
