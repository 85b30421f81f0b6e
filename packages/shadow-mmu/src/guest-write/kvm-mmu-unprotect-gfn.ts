import type { Cpu } from "@kvm-age/machine";
import { type Gfn, PFERR_WRITE_MASK } from "@kvm-age/spte";
import { gvaToGpa } from "../guest-walk/gva-to-gpa.js";
import { forEachGfnValidSpWithGptes } from "../hash/for-each-gfn-valid-sp-with-gptes.js";
import type { ShadowMmu } from "../shadow-mmu.js";
import type { ShadowMmuVcpu } from "../vcpu/shadow-mmu-vcpu.js";
import { InvalidList } from "../zap/invalid-list.js";
import { kvmMmuCommitZapPage } from "../zap/kvm-mmu-commit-zap-page.js";
import { kvmMmuPrepareZapPage } from "../zap/kvm-mmu-prepare-zap-page.js";

const PAGE_BYTES = 4096;

/** Whether any guest table is shadowed. Read without order: a wrong answer costs one more emulation. */
function hasIndirectShadowPages(mmu: ShadowMmu, cpu: Cpu): boolean {
  return cpu.readOnce32(mmu.indirectShadowPagesWord) !== 0;
}

/**
 * `kvm_mmu_unprotect_gfn`: stops shadowing the guest table at `gfn`, so that it may be mapped writable again. True if it was shadowed.
 * Never with `mmu_lock` held.
 */
export function kvmMmuUnprotectGfn(mmu: ShadowMmu, cpu: Cpu, gfn: Gfn): boolean {
  if (!hasIndirectShadowPages(mmu, cpu)) return false;
  const invalidList = new InvalidList();
  let found = false;
  cpu.writeLock(mmu.mmuLock);
  forEachGfnValidSpWithGptes(mmu, cpu, gfn, (sp) => {
    kvmMmuPrepareZapPage(mmu, cpu, sp, invalidList);
    found = true;
  });
  kvmMmuCommitZapPage(mmu, cpu, invalidList);
  cpu.writeUnlock(mmu.mmuLock);
  return found;
}

/**
 * `kvm_mmu_unprotect_gfn_and_retry`: the same for the page of an address, and remembers the address, so that the next write fault at
 * it is emulated. True if the write may be tried again. Held: SRCU; never `mmu_lock`.
 *
 * @param addr in bytes, as the context in use translates it
 * @param access U bit of a page-fault error code: who writes
 */
export function kvmMmuUnprotectGfnAndRetry(
  mmu: ShadowMmu,
  cpu: Cpu,
  vcpu: ShadowMmuVcpu,
  addr: number,
  access: number,
): boolean {
  if (!hasIndirectShadowPages(mmu, cpu)) return false;
  const gpa = gvaToGpa(mmu, cpu, vcpu, addr, access | PFERR_WRITE_MASK);
  if (typeof gpa !== "number") return false;
  if (!kvmMmuUnprotectGfn(mmu, cpu, Math.floor(gpa / PAGE_BYTES) as Gfn)) return false;
  cpu.writeOnce(vcpu.lastRetryAddrWord, BigInt(addr));
  return true;
}
