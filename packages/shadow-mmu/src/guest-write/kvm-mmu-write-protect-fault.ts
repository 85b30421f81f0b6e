import type { Cpu } from "@kvm-age/machine";
import { RetPf } from "@kvm-age/page-fault";
import type { ShadowFaultResult } from "../fault/shadow-fault-result.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { MmuKind } from "../vcpu/kvm-mmu.js";
import { NOTHING, type ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { kvmMmuUnprotectGfnAndRetry } from "./kvm-mmu-unprotect-gfn.js";

/** P, W and GUEST_PAGE: hardware wrote to one of the guest's tables while it walked them. */
const WRITE_TO_GUEST_PAGE_TABLE = (1n << 33n) | 3n;

function isWriteToGuestPageTable(errorCode: bigint): boolean {
  return (errorCode & WRITE_TO_GUEST_PAGE_TABLE) === WRITE_TO_GUEST_PAGE_TABLE;
}

/**
 * `kvm_mmu_write_protect_fault`: what to do about a write to a page that must stay write-protected. Hardware that wrote an A or D bit
 * into a guest table cannot be emulated: the table stops being shadowed and the access is tried again. Any other write is
 * carried out for the guest. A fault at the address that was last freed this way would go round forever, so it is emulated.
 *
 * The kernel compares the instruction's address as well, and frees the page of an indirect context if an event waits to be injected
 * again; there are neither instructions nor events here.
 *
 * @returns `retry` or `emulate`; for the latter `result.allowRetry` says whether the write protection may be taken away instead
 */
export function kvmMmuWriteProtectFault(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  errorCode: bigint,
  result: ShadowFaultResult,
): RetPf {
  if (cpu.readOnce(vcpu.lastRetryAddrWord) === BigInt(addr)) return RetPf.emulate;
  cpu.writeOnce(vcpu.lastRetryAddrWord, NOTHING);
  const kind = vcpu.current(cpu).kind(cpu);
  const tableWrite = kind === MmuKind.direct && isWriteToGuestPageTable(errorCode);
  if (tableWrite && kvmMmuUnprotectGfnAndRetry(mmu, cpu, vcpu, addr, 0)) return RetPf.retry;
  result.allowRetry = kind === MmuKind.direct || kind === MmuKind.shadow;
  return RetPf.emulate;
}
