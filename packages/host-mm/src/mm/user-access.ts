import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { SegmentationFaultError } from "../errors.js";
import { FaultResult } from "../fault/fault-result.js";
import { handleMmFault } from "../fault/handle-mm-fault.js";
import { outOfMemory } from "../gup/hva-to-pfn.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import {
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_PRESENT,
  PAGE_RW,
  PTE_NONE,
  pmdTransHuge,
} from "../page-table/pte.js";
import type { MmStruct } from "./mm-struct.js";

/**
 * An access of the VMM itself: the hardware walks the primary tables and sets Accessed, and Dirty for a write, in the leaf; what it cannot do is
 * faulted in first. The processor's own TLB is not modelled: every access walks.
 *
 * @throws SegmentationFaultError if no mapping allows the access.
 * @throws HostOutOfMemoryError if no page is free for the fault.
 */
export function userAccess(mm: MmStruct, cpu: Cpu, hva: number, write: boolean): void {
  if (!isInMappingWindow(hva)) throw new SegmentationFaultError(hva, write);
  const fault = { index: hvaToIndex(hva), write, noWait: false };
  while (!hardwareWalk(mm, cpu, fault.index, write)) {
    cpu.readLock(mm.mmapLock);
    let result: FaultResult = FaultResult.done;
    try {
      result = handleMmFault(mm, cpu, fault);
    } finally {
      cpu.readUnlock(mm.mmapLock);
    }
    if (result === FaultResult.segmentationFault) throw new SegmentationFaultError(hva, write);
    if (result === FaultResult.outOfMemory) throw outOfMemory(mm, cpu, hva);
  }
}

/** One walk of the paging hardware (Intel SDM volume 3, section 4.8). False: a page fault. */
function hardwareWalk(mm: MmStruct, cpu: Cpu, index: number, write: boolean): boolean {
  // The walker needs no read section: a real one is kept off freed tables by the TLB flush that precedes their reuse.
  cpu.rcuReadLock();
  const pmd = mm.pageTables.pmdOffset(cpu, index);
  const entry = pmd === NULL_ADDRESS ? PTE_NONE : cpu.readOnce(pmd);
  const leaf = pmdTransHuge(entry) ? pmd : mm.pageTables.pteOffset(entry, index);
  const done = entry !== PTE_NONE && setBits(cpu, leaf, write);
  cpu.rcuReadUnlock();
  return done;
}

/** Sets the bits in one locked step with the permission check, as the hardware does; a changed entry is checked again. */
function setBits(cpu: Cpu, leaf: Address, write: boolean): boolean {
  const needed = write ? PAGE_PRESENT | PAGE_RW : PAGE_PRESENT;
  const bits = write ? PAGE_ACCESSED | PAGE_DIRTY : PAGE_ACCESSED;
  let seen = cpu.readOnce(leaf);
  while ((seen & needed) === needed) {
    if ((seen & bits) === bits) return true;
    const found = cpu.cmpxchg(leaf, seen, seen | bits, "full");
    if (found === seen) return true;
    seen = found;
  }
  return false;
}
