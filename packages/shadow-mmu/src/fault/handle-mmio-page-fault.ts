import type { Cpu } from "@kvm-age/machine";
import { handleMmioPageFault, type KvmPageFault, RetPf } from "@kvm-age/page-fault";
import {
  getMmioSpteAccess,
  getMmioSpteGfn,
  isRsvdSpte,
  isShadowPresentPte,
  type PgLevel,
  type RsvdBits,
  resetShadowZeroBitsMask,
  roleDirect,
  roleLevel,
  type Spte,
} from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { mmioInfoInCache, vcpuCacheMmioInfo } from "./mmio-cache.js";
import { ShadowLocklessWalk } from "./shadow-lockless-walk.js";

/** A lockless walk that also looks for bits which hardware reserves and KVM never sets in a present entry. */
class ReservedBitsWalk extends ShadowLocklessWalk {
  reserved = false;
  private readonly zeroCheck: RsvdBits;

  constructor(
    private readonly checked: ShadowMmu,
    vcpu: ShadowMmuVcpu,
    rootLevel: PgLevel,
  ) {
    super(checked, vcpu);
    this.zeroCheck = resetShadowZeroBitsMask(checked.format, rootLevel);
  }

  protected override visit(spte: Spte, level: PgLevel): void {
    if (!isShadowPresentPte(spte)) return;
    this.reserved = isRsvdSpte(this.checked.format, this.zeroCheck, spte, level) || this.reserved;
  }
}

/**
 * `handle_mmio_page_fault`: answers a reserved-bit fault from what is cached, in the vCPU or in an entry, without `mmu_lock`.
 *
 * @returns `emulate` if the address is outside every slot; `invalid` if slots have changed since that was cached, which sends the fault
 * down the ordinary path; `retry` if the entry is no MMIO one any more; `error` with EINVAL in `fault.errno` if a present entry on the
 * path has a reserved bit
 */
export function handleShadowMmioPageFault(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
): RetPf {
  const role = vcpu.current(cpu).rootRole(cpu);
  const direct = roleDirect(role);
  if (mmioInfoInCache(mmu, cpu, vcpu, fault.addr, direct)) return RetPf.emulate;
  const walk = new ReservedBitsWalk(mmu, vcpu, roleLevel(role));
  const result = handleMmioPageFault(mmu, cpu, fault, walk, cpu.readOnce32(vcpu.inSmmWord), direct);
  if (walk.reserved) {
    fault.errno = "EINVAL";
    return RetPf.error;
  }
  if (result === RetPf.emulate) {
    const { oldSpte } = walk.found;
    const access = getMmioSpteAccess(mmu.format, oldSpte);
    const gva = direct ? 0 : fault.addr;
    vcpuCacheMmioInfo(mmu, cpu, vcpu, gva, getMmioSpteGfn(mmu.format, oldSpte), access);
  }
  return result;
}
