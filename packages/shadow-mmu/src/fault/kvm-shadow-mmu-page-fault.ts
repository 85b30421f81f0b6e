import type { Cpu } from "@kvm-age/machine";
import { countPageFaultResult, KvmPageFault, RetPf } from "@kvm-age/page-fault";
import { PG_LEVEL_2M } from "@kvm-age/spte";
import { kvmMmuWriteProtectFault } from "../guest-write/kvm-mmu-write-protect-fault.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { directPageFault } from "./direct-page-fault.js";
import { handleShadowMmioPageFault } from "./handle-mmio-page-fault.js";
import { indirectPageFault } from "./indirect-page-fault.js";
import { ShadowFaultResult } from "./shadow-fault-result.js";

/** The bits of an error code that a number holds; KVM defines none above. */
const ERROR_CODE_BITS = 53;

/** `kvm_tdp_page_fault` without the TDP MMU, or `nonpaging_page_fault`, whose linear addresses are mapped by 2 MiB at most. */
function linearPageFault(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, fault: KvmPageFault): RetPf {
  fault.slot = mmu.memslots.gfnToMemslot(cpu, cpu.readOnce32(vcpu.inSmmWord), fault.gfn);
  if (!mmu.tdpEnabled) fault.maxLevel = PG_LEVEL_2M;
  return directPageFault(mmu, cpu, vcpu, fault);
}

/** `kvm_mmu_do_page_fault`, counted. */
function doPageFault(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  fault: KvmPageFault,
  result: ShadowFaultResult,
  errorCode: bigint,
): RetPf {
  cpu.fetchAdd32(mmu.statistics.word("pf_taken"), 1, "relaxed");
  const direct = vcpu.current(cpu).kind(cpu) === MmuKind.direct;
  const done = direct
    ? linearPageFault(mmu, cpu, vcpu, fault)
    : indirectPageFault(mmu, cpu, vcpu, { fault, result }, errorCode);
  const isProtected = done === RetPf.writeProtected;
  const ret = isProtected ? kvmMmuWriteProtectFault(mmu, cpu, vcpu, fault.addr, errorCode, result) : done;
  countPageFaultResult(mmu.statistics, cpu, ret);
  return ret;
}

/**
 * `kvm_mmu_page_fault`: handles a fault of a vCPU in the context in use. The vCPU is outside the guest and has a root. Held: `kvm->srcu`,
 * no spinning lock. Whatever the guest's tables hold, the outcome is a value: a mapping, a fault for the guest, an access to
 * emulate, an errno.
 *
 * @param addr in bytes, an integer in [0, 2^53): guest-linear (CR2), guest-physical in a linear context, L2-physical in a nested one
 * @param errorCode in PFERR form. A write that finds a guest page table write-protected has P and W set: the entry is present.
 */
export function kvmShadowMmuPageFault(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  errorCode: bigint,
): ShadowFaultResult {
  const result = new ShadowFaultResult();
  const fault = new KvmPageFault(addr, Number(BigInt.asUintN(ERROR_CODE_BITS, errorCode)), false);
  result.ret = fault.rsvd ? handleShadowMmioPageFault(mmu, cpu, vcpu, fault) : RetPf.invalid;
  if (result.ret === RetPf.invalid) result.ret = doPageFault(mmu, cpu, vcpu, fault, result, errorCode);
  result.errno = fault.errno;
  return result;
}
