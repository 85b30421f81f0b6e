import type { Cpu } from "@kvm-age/machine";
import type { ShadowMmu } from "../shadow-mmu.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import type { GuestFault } from "./guest-fault.js";
import { walkAddr } from "./walk-addr.js";

const PAGE_BYTES = 4096;

/**
 * `gva_to_gpa` of the context in use: what `addr` translates to for an access, in bytes, or the fault that the guest would take. Sets A
 * and D in the guest's tables like the access itself. A context without guest tables translates nothing. Sleeps. Held: SRCU;
 * never `mmu_lock`.
 *
 * @param addr in bytes, an integer in [0, 2^53)
 * @param access page-fault error code; W, U and F are looked at
 */
export function gvaToGpa(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  access: number,
): number | GuestFault {
  const context = vcpu.current(cpu);
  if (context.kind(cpu) === MmuKind.direct) return addr;
  const walk = walkAddr(mmu, cpu, vcpu, context, addr, access);
  return walk.fault ?? walk.gfn * PAGE_BYTES + (addr % PAGE_BYTES);
}
