import { type Address, type Cpu, NULL_ADDRESS, offset } from "@kvm-age/machine";
import { MmuNotifierEvent, type MmuNotifierRange } from "../notifier/mmu-notifier-range.js";
import { HPAGE_PMD_NR } from "../page/mem-map.js";
import { indexToHva } from "../page-table/mapping-window.js";
import { PAGE_RW, pmdTransHuge, ptePresent } from "../page-table/pte.js";
import { splitHugePmd } from "../thp/split-huge-pmd.js";
import { VM_WRITE } from "../vma/vma-table.js";
import { checkMapped, type PageRange, pageRange } from "./map-range.js";
import type { MmStruct } from "./mm-struct.js";

const NOT_WRITABLE = BigInt.asUintN(64, ~PAGE_RW);

/** Pages under one entry of the top table (kernel `PGDIR_SIZE`). */
const PGD_PAGES = 2 ** 27;

/**
 * `mprotect(PROT_READ)` or `mprotect(PROT_READ | PROT_WRITE)`. Every 512 GiB of the range that have page tables get a bracket of their own. Pages are made writable
 * again at once (kernel `can_change_pte_writable`: they belong to this mm alone). Mappings that become equal are not merged.
 *
 * @throws InvalidMappingRangeError, MapCountError.
 * @throws UnmappedRangeError if mappings do not cover the range.
 */
export function mprotect(mm: MmStruct, cpu: Cpu, hva: number, bytes: number, writable: boolean): void {
  const range = pageRange(hva, bytes);
  cpu.writeLock(mm.mmapLock);
  try {
    checkMapped(mm, cpu, range);
    setVmaFlags(mm, cpu, range, writable);
    for (let start = range.start; start < range.end; ) {
      const end = Math.min(range.end, start - (start % PGD_PAGES) + PGD_PAGES);
      if (mm.pageTables.isPopulated(cpu, start)) changeProtection(mm, cpu, { start, end }, writable);
      start = end;
    }
  } finally {
    cpu.writeUnlock(mm.mmapLock);
  }
}

function setVmaFlags(mm: MmStruct, cpu: Cpu, range: PageRange, writable: boolean): void {
  const { vmas } = mm;
  vmas.splitAt(cpu, range.start);
  vmas.splitAt(cpu, range.end);
  let vma = vmas.findVma(cpu, range.start);
  for (; vma < vmas.count(cpu) && vmas.start(cpu, vma) < range.end; vma++) {
    const flags = vmas.flags(cpu, vma);
    vmas.setFlags(cpu, vma, writable ? flags | VM_WRITE : flags & ~VM_WRITE);
  }
}

/** `change_protection`, in its bracket. */
function changeProtection(mm: MmStruct, cpu: Cpu, range: PageRange, writable: boolean): void {
  const bracket: MmuNotifierRange = {
    start: indexToHva(range.start),
    end: indexToHva(range.end),
    blockable: true,
    event: MmuNotifierEvent.PROTECTION_VMA,
  };
  mm.notifiers.invalidateRangeStart(cpu, bracket);
  for (let index = range.start; index < range.end; ) {
    const next = Math.min(range.end, index - (index % HPAGE_PMD_NR) + HPAGE_PMD_NR);
    const pmd = mm.pageTables.pmdOffset(cpu, index);
    const isLeaf = pmd !== NULL_ADDRESS && pmdTransHuge(cpu.readOnce(pmd));
    const isWhole = next - index === HPAGE_PMD_NR;
    if (isLeaf && !isWhole) splitHugePmd(mm, cpu, index);
    // A leaf that reclaim splits meanwhile is a table by now.
    const isChanged = isLeaf && isWhole && changeHugePmd(mm, cpu, pmd, writable);
    if (!isChanged) changePteRange(mm, cpu, index, next, writable);
    index = next;
  }
  mm.notifiers.invalidateRangeEnd(cpu, bracket);
}

function changeHugePmd(mm: MmStruct, cpu: Cpu, pmd: Address, writable: boolean): boolean {
  const lock = mm.pageTables.lockPmd(cpu, pmd);
  const isLeaf = pmdTransHuge(cpu.readOnce(pmd));
  if (isLeaf) changeEntry(cpu, pmd, writable);
  cpu.spinUnlock(lock);
  return isLeaf;
}

function changePteRange(mm: MmStruct, cpu: Cpu, index: number, end: number, writable: boolean): void {
  const first = mm.pageTables.pteOffsetMapLock(cpu, index);
  if (first === NULL_ADDRESS) return;
  for (let page = 0; page < end - index; page++) {
    const pte = offset(first, page * 8);
    if (ptePresent(cpu.readOnce(pte))) changeEntry(cpu, pte, writable);
  }
  mm.pageTables.pteUnmapUnlock(cpu, first);
}

/** One atomic step: Accessed and Dirty that a walker sets at the same time are kept. */
function changeEntry(cpu: Cpu, entry: Address, writable: boolean): void {
  if (writable) cpu.fetchOr(entry, PAGE_RW, "full");
  else cpu.fetchAnd(entry, NOT_WRITABLE, "full");
}
