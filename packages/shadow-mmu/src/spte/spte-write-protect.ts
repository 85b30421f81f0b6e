import type { Address, Cpu } from "@kvm-age/machine";
import { isMmuWritableSpte, isWritablePte, type Spte } from "@kvm-age/spte";
import type { ShadowMmu } from "../shadow-mmu.js";
import { mmuSpteUpdate } from "./mmu-spte-update.js";

/** W, the same bit in every format. */
const PT_WRITABLE_MASK = 2n;

/**
 * `spte_write_protect`: takes W from a leaf. Held: `mmu_lock` for write.
 *
 * @param ptProtect also takes MMU-writable, because the page holds a guest page table or is write-tracked: then no fast page fault may
 * give W back. Without it, dirty logging, one may.
 * @returns whether a flush is due before the lock is dropped. For dirty logging the flush is the caller's, and unconditional.
 */
export function spteWriteProtect(mmu: ShadowMmu, cpu: Cpu, sptep: Address, ptProtect: boolean): boolean {
  const { format } = mmu;
  const spte = cpu.readOnce(sptep) as Spte;
  if (!isWritablePte(spte) && !(ptProtect && isMmuWritableSpte(format, spte))) return false;
  const taken = ptProtect ? PT_WRITABLE_MASK | format.shadowMmuWritableMask : PT_WRITABLE_MASK;
  return mmuSpteUpdate(mmu, cpu, sptep, BigInt.asUintN(64, spte & ~taken) as Spte);
}
