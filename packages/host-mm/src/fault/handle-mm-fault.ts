import type { Address, Cpu } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { PTE_NONE, pmdTransHuge } from "../page-table/pte.js";
import { VM_HUGEPAGE, VM_WRITE } from "../vma/vma-table.js";
import { doAnonymousPage } from "./do-anonymous-page.js";
import { doHugePmdAnonymousPage } from "./do-huge-pmd-anonymous-page.js";
import { doSwapPage } from "./do-swap-page.js";
import { FaultResult } from "./fault-result.js";
import { pmdSetAccessed, pteSetAccessed } from "./set-accessed.js";

/** What a fault wants; `index` is the page number within the mapping window. */
export interface VmFault {
  readonly index: number;
  readonly write: boolean;
  /** Do not wait for I/O or for a page that is locked (kernel `FAULT_FLAG_RETRY_NOWAIT`). */
  readonly noWait: boolean;
}

/**
 * `handle_mm_fault`: makes the page present, and writable for a write, one step at a time: the caller looks at the page
 * table again and comes back if it must. Held: the mmap lock, so mappings and tables stay, and backed memory is present.
 */
export function handleMmFault(mm: MmStruct, cpu: Cpu, fault: VmFault): FaultResult {
  const vma = mm.vmas.vmaLookup(cpu, fault.index);
  if (vma < 0) return FaultResult.segmentationFault;
  const flags = mm.vmas.flags(cpu, vma);
  const vmaWritable = (flags & VM_WRITE) !== 0;
  if (fault.write && !vmaWritable) return FaultResult.segmentationFault;
  const pmd = mm.pageTables.pmdAlloc(cpu, fault.index);
  if ((flags & VM_HUGEPAGE) !== 0 && cpu.readOnce(pmd) === PTE_NONE) {
    if (doHugePmdAnonymousPage(mm, cpu, pmd, vma, fault.index)) return FaultResult.done;
  }
  if (cpu.readOnce(pmd) === PTE_NONE) mm.pageTables.pteAlloc(cpu, pmd);
  const entry = cpu.readOnce(pmd);
  if (pmdTransHuge(entry)) return pmdSetAccessed(mm, cpu, pmd, entry, fault.write);
  if (entry === PTE_NONE) return FaultResult.done;
  return handlePteFault(mm, cpu, mm.pageTables.pteOffset(entry, fault.index), fault, vmaWritable);
}

/**
 * `handle_pte_fault`. The entry is read without the lock; each handler reads it again under the lock and gives up if it
 * changed. The PTE table cannot go away: that takes the mmap lock for write.
 */
function handlePteFault(
  mm: MmStruct,
  cpu: Cpu,
  pte: Address,
  fault: VmFault,
  vmaWritable: boolean,
): FaultResult {
  const entry = cpu.readOnce(pte);
  if (entry === PTE_NONE) return doAnonymousPage(mm, cpu, pte, fault.index, vmaWritable);
  if ((entry & 1n) === 0n) return doSwapPage(mm, cpu, pte, entry, fault, vmaWritable);
  return pteSetAccessed(mm, cpu, pte, entry, fault.write);
}
