import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import {
  PAGE_ACCESSED,
  PAGE_DIRTY,
  PAGE_PRESENT,
  PAGE_PSE,
  PAGE_RW,
  PTE_NONE,
  pmdTransHuge,
  ptePfn,
} from "../page-table/pte.js";
import type { MmStruct } from "./mm-struct.js";

/** What `hardwareWalk` answers where the access faults. */
export const PAGE_FAULT = -1;

/**
 * One walk of the paging hardware (Intel SDM volume 3, section 4.8): the pfn behind page `index`, with Accessed, and Dirty for a write, set in
 * its leaf; `PAGE_FAULT` if the leaf does not allow the access. The processor's TLB is not modelled: every access walks.
 *
 * Held: an RCU read section, from before the walk to behind the last use of the pfn. It stands for what keeps a real walker and a cached
 * translation safe, the TLB flush that precedes the reuse of a table or frame and waits for every processor: tables and frames
 * of backed memory are freed a grace period after they were unlinked.
 */
export function hardwareWalk(mm: MmStruct, cpu: Cpu, index: number, write: boolean): number {
  const pmd = mm.pageTables.pmdOffset(cpu, index);
  if (pmd === NULL_ADDRESS) return PAGE_FAULT;
  for (;;) {
    const entry = cpu.readOnce(pmd);
    if (entry === PTE_NONE) return PAGE_FAULT;
    if (!pmdTransHuge(entry)) {
      const pte = setBits(cpu, mm.pageTables.pteOffset(entry, index), PAGE_PRESENT, write);
      return pte === PTE_NONE ? PAGE_FAULT : ptePfn(pte);
    }
    const leaf = setBits(cpu, pmd, PAGE_PRESENT | PAGE_PSE, write);
    if (leaf !== PTE_NONE) return ptePfn(leaf) + (index % HPAGE_PMD_NR);
    // A leaf that was split since it was read is a table now, and the walk goes on there. One that is still a leaf forbids the access.
    if (pmdTransHuge(cpu.readOnce(pmd))) return PAGE_FAULT;
  }
}

/**
 * Sets the bits in one locked step with the check of `kind` and permission, as the hardware does; a changed entry is checked again. Returns the entry,
 * `PTE_NONE` if it is not of that kind or forbids the access.
 */
function setBits(cpu: Cpu, leaf: Address, kind: bigint, write: boolean): bigint {
  const needed = write ? kind | PAGE_RW : kind;
  const bits = write ? PAGE_ACCESSED | PAGE_DIRTY : PAGE_ACCESSED;
  let seen = cpu.readOnce(leaf);
  while ((seen & needed) === needed) {
    if ((seen & bits) === bits) return seen;
    const found = cpu.cmpxchg(leaf, seen, seen | bits, "full");
    if (found === seen) return seen;
    seen = found;
  }
  return PTE_NONE;
}
