import type { Pfn } from "@kvm-age/spte";
import { PAGE_SIZE } from "./page-size.js";

// Entries of the primary page tables: x86 long mode (Intel SDM volume 3, section 4.5), four levels. Addresses are cut out
// by one mask and divided as numbers, exact below 2^53: shifts of bigints allocate.

/** Present. */
export const PAGE_PRESENT: bigint = 1n << 0n;
/** Writable (kernel `_PAGE_RW`). */
export const PAGE_RW: bigint = 1n << 1n;
/** User-accessible. */
export const PAGE_USER: bigint = 1n << 2n;
/** Accessed: set by the hardware walker, and by the fault that makes the entry. */
export const PAGE_ACCESSED: bigint = 1n << 5n;
/** Dirty: set by the hardware walker on a write. */
export const PAGE_DIRTY: bigint = 1n << 6n;
/** Leaf above the lowest level. */
export const PAGE_PSE: bigint = 1n << 7n;
/** The leaf has no page record behind it (kernel `_PAGE_SPECIAL`, a bit that the hardware ignores). */
export const PAGE_SPECIAL: bigint = 1n << 9n;
/** Not executable. */
export const PAGE_NX: bigint = 1n << 63n;

/** No entry (kernel `pte_none`). */
export const PTE_NONE: bigint = 0n;

/** Bits of an entry that points to a table (kernel `_PAGE_TABLE`). */
const TABLE_BITS = PAGE_PRESENT | PAGE_RW | PAGE_USER | PAGE_ACCESSED;

/** Bits that every leaf has. */
const LEAF_BITS = PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED | PAGE_NX;

/** Bits 51:12: physical address of a page or table, or the slot of a swap entry. */
const ADDRESS_BITS = 0xffffffffff000n;

/** `pte_present` and `pmd_present`. */
export function ptePresent(entry: bigint): boolean {
  return (entry & PAGE_PRESENT) !== 0n;
}

/** Whether a present PMD is a 2 MiB leaf (kernel `pmd_trans_huge`). */
export function pmdTransHuge(entry: bigint): boolean {
  return (entry & (PAGE_PRESENT | PAGE_PSE)) === (PAGE_PRESENT | PAGE_PSE);
}

/** Whether a leaf is present and has no page record (kernel `pte_special`; then `vm_normal_page` finds none). */
export function pteSpecial(entry: bigint): boolean {
  return (entry & (PAGE_PRESENT | PAGE_SPECIAL)) === (PAGE_PRESENT | PAGE_SPECIAL);
}

/** `pte_pfn`: pfn of a present leaf. */
export function ptePfn(entry: bigint): Pfn {
  return (Number(entry & ADDRESS_BITS) / PAGE_SIZE) as Pfn;
}

/** `mk_pte`: a present, accessed, user leaf for `pfn` with further `bits`; data is not executable. */
export function makePte(pfn: number, bits: bigint): bigint {
  return BigInt.asUintN(64, BigInt(pfn * PAGE_SIZE) | LEAF_BITS | bits);
}

/** An entry that points to the table at arena address `table`. */
export function makeTableEntry(table: number): bigint {
  return BigInt(table) | TABLE_BITS;
}

/** Arena address of the table that a present non-leaf entry points to. */
export function tableOfEntry(entry: bigint): number {
  return (Number(BigInt.asUintN(32, entry)) & ~(PAGE_SIZE - 1)) >>> 0;
}

/** `swp_entry_to_pte`: a not-present entry that names swap slot `slot`, 1 or more. */
export function swapPte(slot: number): bigint {
  return BigInt(slot * PAGE_SIZE);
}

/** `pte_to_swp_entry`: the slot of an entry that is neither none nor present. */
export function swapSlotOfPte(entry: bigint): number {
  return Number(entry & ADDRESS_BITS) / PAGE_SIZE;
}
