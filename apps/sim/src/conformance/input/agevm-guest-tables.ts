import type { AgevmStart } from "./agevm-start.js";

const PRESENT_WRITABLE = 0x3n;
const ACCESSED = 0x20n;
const ACCESSED_DIRTY = 0x60n;
const PAGE_SIZE_BIT = 0x80n;
const PAGE_BYTES = 0x1000;
const BYTES_PER_2M = 0x200000;
const ENTRIES = 512;

const PML4 = 0x2000;
const PDPT = 0x3000;
const LOW_DIRECTORY = 0x4000;
const TEST_DIRECTORY = 0x5000;
const LOW_TABLE = 0x6000;
const LOW_PAGES = 16;
const TEST_TABLES = 0x20000;

/** Where the recorded VMM's 64-bit guests have the root of their page tables. */
export const AGEVM_CR3: number = PML4;

/** The words of the guest's page tables before it runs, by guest-physical address, as the recorded VMM writes them. */
export function agevmGuestTables(start: AgevmStart): Map<number, bigint> {
  const words = new Map<number, bigint>();
  const table = start.presetAd ? PRESENT_WRITABLE | ACCESSED : PRESENT_WRITABLE;
  const leaf = start.presetAd ? PRESENT_WRITABLE | ACCESSED_DIRTY : PRESENT_WRITABLE;
  const link = (from: number, index: number, to: number, flags: bigint): void => {
    words.set(from + index * 8, BigInt(to) | flags);
  };
  link(PML4, 0, PDPT, table);
  link(PDPT, 0, LOW_DIRECTORY, table);
  link(PDPT, 1, TEST_DIRECTORY, table);
  link(LOW_DIRECTORY, 0, LOW_TABLE, table);
  for (let page = 0; page < LOW_PAGES; page++) link(LOW_TABLE, page, page * PAGE_BYTES, leaf);
  const base = start.gfnBase * PAGE_BYTES;
  for (let index = 0; index * ENTRIES < start.pages; index++) {
    if (start.guestUses2m) {
      link(TEST_DIRECTORY, index, base + index * BYTES_PER_2M, leaf | PAGE_SIZE_BIT);
      continue;
    }
    const at = TEST_TABLES + index * PAGE_BYTES;
    link(TEST_DIRECTORY, index, at, table);
    for (let entry = 0; entry < ENTRIES; entry++) {
      link(at, entry, base + (index * ENTRIES + entry) * PAGE_BYTES, leaf);
    }
  }
  return words;
}
