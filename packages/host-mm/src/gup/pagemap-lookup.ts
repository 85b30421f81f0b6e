import { type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import type { Pfn } from "@kvm-age/spte";
import type { MmStruct } from "../mm/mm-struct.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import { hvaToIndex, isInMappingWindow } from "../page-table/mapping-window.js";
import { PTE_NONE, pmdTransHuge, ptePfn, ptePresent } from "../page-table/pte.js";

/** What `pagemapLookup` answers where no page is present. */
export const NO_PFN = -1;

/** One entry of `/proc/<pid>/pagemap`: the pfn that is mapped at `hva`, or -1. Without locks; may be stale at once. */
export function pagemapLookup(mm: MmStruct, cpu: Cpu, hva: number): Pfn | typeof NO_PFN {
  if (!isInMappingWindow(hva)) return NO_PFN;
  cpu.rcuReadLock();
  const pfn = lookUp(mm, cpu, hvaToIndex(hva));
  cpu.rcuReadUnlock();
  return pfn;
}

function lookUp(mm: MmStruct, cpu: Cpu, index: number): Pfn | typeof NO_PFN {
  const pmd = mm.pageTables.pmdOffset(cpu, index);
  const entry = pmd === NULL_ADDRESS ? PTE_NONE : cpu.readOnce(pmd);
  if (entry === PTE_NONE) return NO_PFN;
  if (pmdTransHuge(entry)) return (ptePfn(entry) + (index % HPAGE_PMD_NR)) as Pfn;
  const pte = cpu.readOnce(mm.pageTables.pteOffset(entry, index));
  return ptePresent(pte) ? ptePfn(pte) : NO_PFN;
}
