import type { Pfn } from "@kvm-age/spte";

// Entries of the primary page tables: x86 long mode (Intel SDM volume 3, section 4.5), four levels.

/** Present. */
export const PAGE_PRESENT = 1n << 0n;
/** Writable (kernel `_PAGE_RW`). */
export const PAGE_RW = 1n << 1n;
/** User-accessible. */
export const PAGE_USER = 1n << 2n;
/** Accessed: set by the hardware walker, and by the fault that makes the entry. */
export const PAGE_ACCESSED = 1n << 5n;
/** Dirty: set by the hardware walker on a write. */
export const PAGE_DIRTY = 1n << 6n;
/** Leaf above the lowest level. */
export const PAGE_PSE = 1n << 7n;
/** Not executable. */
export const PAGE_NX = 1n << 63n;

/** No entry (kernel `pte_none`). */
export const PTE_NONE = 0n;

/** Bits of an entry that points to a table (kernel `_PAGE_TABLE`). */
const TABLE_BITS = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED;

const PFN_SHIFT = 12n;
const PFN_MASK = (1n << 40n) - 1n;
const TABLE_ADDRESS_MASK = 0xfffff000n;

/** `pte_present` and `pmd_present`. */
export function ptePresent(entry: bigint): boolean {
  return (entry & PAGE_PRESENT) !== 0n;
}

/** Whether a present PMD is a 2 MiB leaf (kernel `pmd_trans_huge`). */
export function pmdTransHuge(entry: bigint): boolean {
  return (entry & (PAGE_PRESENT | PAGE_PSE)) === (PAGE_PRESENT | PAGE_PSE);
}

/** `pte_pfn`: pfn of a present leaf. */
export function ptePfn(entry: bigint): Pfn {
  return Number((entry >> PFN_SHIFT) & PFN_MASK) as Pfn;
}

/** `mk_pte`: a present, accessed, user leaf for `pfn` with further `bits`; anonymous memory is not executable. */
export function makePte(pfn: number, bits: bigint): bigint {
  return (BigInt(pfn) << PFN_SHIFT) | PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED | PAGE_NX | bits;
}

/** An entry that points to the table at arena address `table`. */
export function makeTableEntry(table: number): bigint {
  return BigInt(table) | TABLE_BITS;
}

/** Arena address of the table that a present non-leaf entry points to. */
export function tableOfEntry(entry: bigint): number {
  return Number(entry & TABLE_ADDRESS_MASK);
}

/** `swp_entry_to_pte`: a not-present entry that names swap slot `slot`, 1 or more. */
export function swapPte(slot: number): bigint {
  return BigInt(slot) << PFN_SHIFT;
}

/** `pte_to_swp_entry`: the slot of an entry that is neither none nor present. */
export function swapSlotOfPte(entry: bigint): number {
  return Number((entry >> PFN_SHIFT) & PFN_MASK);
}
