import {
  type Address,
  type Cpu,
  type FrameAllocator,
  type LockClass,
  NULL_ADDRESS,
  offset,
  type SpinLock,
} from "@kvm-age/machine";
import { MM_PAGE_TABLE_LOCK, MM_PGD } from "../mm/mm-layout.js";
import type { FrameRecords } from "./frame-records.js";
import { makeTableEntry, PTE_NONE, pmdTransHuge, tableOfEntry } from "./pte.js";

/** Lock class of the mm's lock over the two upper levels. */
export const PAGE_TABLE_LOCK_CLASS: LockClass = { name: "mm->page_table_lock", sleeps: false };
/** Lock class of a PMD table (kernel `pmd_lockptr`). */
export const PMD_LOCK_CLASS: LockClass = { name: "pmd_lockptr(mm, pmd)", sleeps: false };
/** Lock class of a PTE table (kernel `ptlock_ptr`). Inside the PMD table's lock. */
export const PTE_LOCK_CLASS: LockClass = { name: "ptlock_ptr(ptdesc)", sleeps: false };

/** First entry of the top table that the mapping window lies under; the second follows it. */
const WINDOW_PGD_INDEX = 254;

/**
 * The primary page tables (kernel `mm->pgd`): four levels of real tables in arena frames. `index` is a page number within
 * the mapping window.
 *
 * PUD and PMD tables stay until the address space is torn down; PTE tables go when their 2 MiB are unmapped, after a
 * grace period. Each PMD table and PTE table has a lock, in the record of its frame.
 */
export class PageTables {
  private readonly pageTableLock: SpinLock;
  private readonly pgdWord: Address;

  constructor(
    private readonly frames: FrameAllocator,
    private readonly records: FrameRecords,
    mm: Address,
  ) {
    this.pageTableLock = {
      kind: "spinlock",
      address: offset(mm, MM_PAGE_TABLE_LOCK),
      lockClass: PAGE_TABLE_LOCK_CLASS,
    };
    this.pgdWord = offset(mm, MM_PGD);
  }

  /** `pgd_alloc`: makes the top table. */
  init(cpu: Cpu): void {
    cpu.writeOnce32(this.pgdWord, this.frames.allocateFrame(cpu));
  }

  /** Whether the 512 GiB around `index` have any page tables (kernel `pgd_none_or_clear_bad`). */
  isPopulated(cpu: Cpu, index: number): boolean {
    return cpu.readOnce(this.pgdEntryOf(cpu, index)) !== PTE_NONE;
  }

  /** Address of the PMD entry for `index` (kernel `mm_find_pmd`); `NULL_ADDRESS` if there is no PMD table. */
  pmdOffset(cpu: Cpu, index: number): Address {
    const pgd = cpu.readOnce(this.pgdEntryOf(cpu, index));
    if (pgd === PTE_NONE) return NULL_ADDRESS;
    const pud = cpu.readOnce(entryAt(tableOfEntry(pgd), index >>> 18));
    if (pud === PTE_NONE) return NULL_ADDRESS;
    return entryAt(tableOfEntry(pud), index >>> 9);
  }

  /** As `pmdOffset`, but makes the tables that are missing (kernel `pud_alloc`, `pmd_alloc`). */
  pmdAlloc(cpu: Cpu, index: number): Address {
    const pudTable = this.tableUnder(cpu, this.pgdEntryOf(cpu, index), false);
    const pmdTable = this.tableUnder(cpu, entryAt(pudTable, index >>> 18), true);
    return entryAt(pmdTable, index >>> 9);
  }

  /** Address of the PTE for `index` in the table that a present non-leaf PMD `entry` points to. */
  pteOffset(entry: bigint, index: number): Address {
    return entryAt(tableOfEntry(entry), index);
  }

  /** `pte_alloc_one`: an empty PTE table with its lock, installed nowhere. */
  allocTable(cpu: Cpu): Address {
    return this.records.allocate(cpu);
  }

  /** `pte_free`: frees a table that nobody can reach. */
  freeTable(cpu: Cpu, table: Address): void {
    this.records.free(cpu, table);
  }

  /** `pte_alloc`: makes sure that the PMD entry is not none; it may turn out a leaf or another processor's table. */
  pteAlloc(cpu: Cpu, pmd: Address): void {
    const table = this.allocTable(cpu);
    const lock = this.lockPmd(cpu, pmd);
    // Under the lock only one processor finds the entry none; the loser's table was never visible.
    const isMine = cpu.readOnce(pmd) === PTE_NONE;
    // Release: a lockless walker that sees the entry sees the table's zeros.
    if (isMine) cpu.storeRelease(pmd, makeTableEntry(table));
    cpu.spinUnlock(lock);
    if (!isMine) this.freeTable(cpu, table);
  }

  /** `pmd_lock`: locks the PMD table that holds the entry at `pmd`; returns the lock. */
  lockPmd(cpu: Cpu, pmd: Address): SpinLock {
    const lock = this.lockOf(cpu, pmd, PMD_LOCK_CLASS);
    cpu.spinLock(lock);
    return lock;
  }

  /** The lock of the PTE table that holds the entry at `pte` (kernel `pte_lockptr`). */
  pteLock(cpu: Cpu, pte: Address): SpinLock {
    return this.lockOf(cpu, pte, PTE_LOCK_CLASS);
  }

  /**
   * `pte_offset_map_lock`: locks the PTE table for `index` and returns the PTE's address, or `NULL_ADDRESS` (nothing locked) if
   * the PMD is none or a leaf. Ends with `pteUnmapUnlock`.
   *
   * The table may be unlinked between the read of the PMD and the lock, so the PMD is read again: whoever unlinks a
   * table holds its lock. The read section keeps an unlinked table and its lock from being reused until then.
   */
  pteOffsetMapLock(cpu: Cpu, index: number): Address {
    cpu.rcuReadLock();
    const pmd = this.pmdOffset(cpu, index);
    for (;;) {
      const entry = pmd === NULL_ADDRESS ? PTE_NONE : cpu.readOnce(pmd);
      if (entry === PTE_NONE || pmdTransHuge(entry)) break;
      const pte = this.pteOffset(entry, index);
      const lock = this.pteLock(cpu, pte);
      cpu.spinLock(lock);
      if (cpu.readOnce(pmd) === entry) return pte;
      cpu.spinUnlock(lock);
    }
    cpu.rcuReadUnlock();
    return NULL_ADDRESS;
  }

  /** `pte_unmap_unlock`: ends what `pteOffsetMapLock` began; `pte` may be any entry of the same table. */
  pteUnmapUnlock(cpu: Cpu, pte: Address): void {
    cpu.spinUnlock(this.pteLock(cpu, pte));
    cpu.rcuReadUnlock();
  }

  private pgdEntryOf(cpu: Cpu, index: number): Address {
    const pgd = cpu.readOnce32(this.pgdWord) as Address;
    return offset(pgd, (WINDOW_PGD_INDEX + (index >>> 27)) * 8);
  }

  private lockOf(cpu: Cpu, entry: Address, lockClass: LockClass): SpinLock {
    return { kind: "spinlock", address: this.records.lockOf(cpu, entry), lockClass };
  }

  /** The table under an entry of the two upper levels, made if it is missing. */
  private tableUnder(cpu: Cpu, word: Address, withLock: boolean): number {
    const entry = cpu.readOnce(word);
    if (entry !== PTE_NONE) return tableOfEntry(entry);
    const table = withLock ? this.allocTable(cpu) : this.frames.allocateFrame(cpu);
    cpu.spinLock(this.pageTableLock);
    const found = cpu.readOnce(word);
    // Release and loser as in `pteAlloc`.
    if (found === PTE_NONE) cpu.storeRelease(word, makeTableEntry(table));
    cpu.spinUnlock(this.pageTableLock);
    if (found === PTE_NONE) return table;
    if (withLock) this.freeTable(cpu, table);
    else this.frames.freeFrame(cpu, table);
    return tableOfEntry(found);
  }
}

function entryAt(table: number, indexAtLevel: number): Address {
  return (table + (indexAtLevel & 511) * 8) as Address;
}
