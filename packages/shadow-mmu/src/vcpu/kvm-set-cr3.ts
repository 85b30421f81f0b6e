import { type Cpu, memberRequestsWord, REQUEST_TLB_FLUSH } from "@kvm-age/machine";
import { REQUEST_MMU_SYNC } from "@kvm-age/page-fault";
import { PT32E_ROOT_LEVEL } from "@kvm-age/spte";
import { guestLevel } from "../root/guest-level.js";
import { kvmMmuFreeRoots, kvmMmuRootPrevious } from "../root/kvm-mmu-free-roots.js";
import { kvmMmuNewPgd } from "../root/kvm-mmu-new-pgd.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import { KVM_MMU_NUM_PREV_ROOTS, type KvmMmu, MmuKind } from "./kvm-mmu.js";
import { loadPdptrs } from "./load-pdptrs.js";
import type { ShadowMmuVcpu } from "./shadow-mmu-vcpu.js";

/** A load of CR3 by the guest. */
export interface Cr3Load {
  /** The value without bit 63: root in bytes, flags or PCID in bits 11:0. An integer in [0, 2^53). */
  readonly cr3: number;
  /** CR4.PCIDE: bits 11:0 are a PCID. @default false */
  readonly pcide?: boolean;
  /** Bit 63, with `pcide`: translations of the PCID may stay. @default false */
  readonly noFlush?: boolean;
}

const PCID_SPAN = 4096;

/** The previous roots of the PCID: their translations are stale, and they would not be synchronised before they are used. */
function previousRootsOfPcid(cpu: Cpu, context: KvmMmu, pcid: number): number {
  let roots = 0;
  for (let index = 0; index < KVM_MMU_NUM_PREV_ROOTS; index++) {
    const pgd = Number(cpu.readOnce(context.previousRootPgdWord(index)));
    if (pgd % PCID_SPAN === pcid) roots |= kvmMmuRootPrevious(index);
  }
  return roots;
}

/** `kvm_invalidate_pcid` for the PCID in use: before the next entry the current root is synchronised and the TLB flushed. */
function kvmInvalidatePcid(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  context: KvmMmu,
  load: Cr3Load,
): void {
  const requests = REQUEST_MMU_SYNC | REQUEST_TLB_FLUSH;
  cpu.fetchOr32(memberRequestsWord(mmu.flushDomain, vcpu.id), requests, "relaxed");
  if (load.pcide !== true) return;
  kvmMmuFreeRoots(mmu, cpu, vcpu, context, previousRootsOfPcid(cpu, context, load.cr3 % PCID_SPAN));
}

/**
 * `kvm_set_cr3` for `root_mmu`: the guest loads CR3. A root that is cached for the value becomes current; else the next entry loads
 * one. Without `noFlush` what the guest changed in its tables counts from now on. Where hardware walks the guest's tables, or
 * paging is off, only the value is kept. Held: SRCU; never `mmu_lock`.
 *
 * @returns false, with nothing changed, if the value or a PDPTE that it leads to is illegal: the guest takes #GP
 */
export function kvmSetCr3(mmu: ShadowMmu, cpu: Cpu, vcpu: ShadowMmuVcpu, load: Cr3Load): boolean {
  const { cr3 } = load;
  const context = vcpu.rootMmu;
  if (!Number.isInteger(cr3) || cr3 < 0 || cr3 >= 2 ** mmu.format.host.maxPhyAddr) return false;
  if (context.kind(cpu) === MmuKind.direct) {
    cpu.writeOnce(context.guestPgdWord, BigInt(cr3));
    return true;
  }
  const pae = guestLevel(cpu, context) === PT32E_ROOT_LEVEL;
  if (pae && !loadPdptrs(mmu, cpu, vcpu, context, cr3)) return false;
  if (cpu.readOnce(context.guestPgdWord) !== BigInt(cr3)) kvmMmuNewPgd(mmu, cpu, vcpu, context, cr3);
  if (load.noFlush !== true) kvmInvalidatePcid(mmu, cpu, vcpu, context, load);
  return true;
}
