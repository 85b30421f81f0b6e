import { type Address, type Cpu, NULL_ADDRESS } from "@kvm-age/machine";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import { PTE_NONE, tableOfEntry } from "../page-table/pte.js";
import type { MmStruct } from "./mm-struct.js";
import type { MmuGather } from "./mmu-gather.js";

/** Pages under one PUD entry, which a missing PMD table leaves out (kernel `PUD_SIZE`). */
const PUD_PAGES = 2 ** 18;

/**
 * `free_pgtables`: unlinks the PTE tables of every 2 MiB that lie wholly in the pages [start, end), which are zapped, and hands them to
 * `gather`. Tables at the edges stay until their 2 MiB go as a whole. Held: the mmap lock for write, so nobody
 * fills them again.
 */
export function freePageTables(mm: MmStruct, cpu: Cpu, start: number, end: number, gather: MmuGather): void {
  const first = Math.ceil(start / HPAGE_PMD_NR) * HPAGE_PMD_NR;
  for (let index = first; index + HPAGE_PMD_NR <= end; ) {
    const pmd = mm.pageTables.pmdOffset(cpu, index);
    if (pmd === NULL_ADDRESS) {
      index += PUD_PAGES - (index % PUD_PAGES);
      continue;
    }
    const table = unlinkTable(mm, cpu, pmd);
    if (table !== NULL_ADDRESS) gather.remove(table);
    index += HPAGE_PMD_NR;
  }
}

/**
 * Takes the table out of the PMD entry. With both locks: reclaim finds tables without the mmap lock, and reads the PMD entry again
 * once it has the table's lock.
 */
function unlinkTable(mm: MmStruct, cpu: Cpu, pmd: Address): Address {
  const pmdLock = mm.pageTables.lockPmd(cpu, pmd);
  const entry = cpu.readOnce(pmd);
  if (entry === PTE_NONE) {
    cpu.spinUnlock(pmdLock);
    return NULL_ADDRESS;
  }
  const table = tableOfEntry(entry) as Address;
  const tableLock = mm.pageTables.pteLock(cpu, table);
  cpu.spinLock(tableLock);
  cpu.writeOnce(pmd, PTE_NONE);
  cpu.spinUnlock(tableLock);
  cpu.spinUnlock(pmdLock);
  return table;
}
