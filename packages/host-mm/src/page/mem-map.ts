import { type Address, type Cpu, offset } from "@kvm-age/machine";
import type { Pfn } from "@kvm-age/spte";
import { ForeignPfnError } from "../errors.js";

declare const pageBrand: unique symbol;

/** Number of a page record (kernel `struct page *`); 0 is none. */
export type Page = number & { readonly [pageBrand]: "Page" };

/** No page. */
export const NULL_PAGE: Page = 0 as Page;

/** Pfn of the first host data page. Lower pfns are arena frames: kernel memory, on no LRU list. */
export const FIRST_HOST_PFN = 0x100000;

/** Pages of a 2 MiB block (kernel `HPAGE_PMD_NR`). */
export const HPAGE_PMD_NR = 512;

/** Bytes of a page record: u64 state, u32 next, u32 previous (kernel `struct page`, `lru`). */
export const PAGE_RECORD_BYTES = 16;

/** Records in front of the first page: 0 is never used, the others are heads of page lists. */
export const LIST_HEAD_RECORDS = 64;

/** Most host pages: their records fill half of the largest arena. */
export const MAX_HOST_PAGES: number = 2 ** 27;

/** Heads of page lists, by record number. */
export const INACTIVE_LIST: Page = 1 as Page;
export const ACTIVE_LIST: Page = 2 as Page;
/** Free single pages of the zone. */
export const FREE_PAGES_LIST: Page = 3 as Page;
/** Free 2 MiB blocks of the zone, by their first page. */
export const FREE_BLOCKS_LIST: Page = 4 as Page;

/** The array of page records (kernel `mem_map`): addresses and the arithmetic of pfns, blocks and records. */
export class MemMap {
  constructor(
    readonly address: Address,
    readonly pages: number,
  ) {}

  static bytes(pages: number): number {
    return (LIST_HEAD_RECORDS + pages) * PAGE_RECORD_BYTES;
  }

  /** First pfn behind the host's pages (kernel `max_pfn`). */
  get maxPfn(): number {
    return FIRST_HOST_PFN + this.pages;
  }

  /** u64: flags, reference count and index (page-state.ts). */
  stateWord(page: Page): Address {
    return offset(this.address, page * PAGE_RECORD_BYTES);
  }

  /** u32: next page of the list this page is on. */
  nextWord(page: Page): Address {
    return offset(this.address, page * PAGE_RECORD_BYTES + 8);
  }

  /** u32: previous page of the list this page is on. */
  previousWord(page: Page): Address {
    return offset(this.address, page * PAGE_RECORD_BYTES + 12);
  }

  /** `page_to_pfn`. */
  pageToPfn(page: Page): Pfn {
    return (page - LIST_HEAD_RECORDS + FIRST_HOST_PFN) as Pfn;
  }

  /**
   * `pfn_to_page`.
   *
   * @throws ForeignPfnError if `pfn` is outside [`FIRST_HOST_PFN`, `maxPfn`).
   */
  pfnToPage(pfn: number): Page {
    if (!(Number.isInteger(pfn) && pfn >= FIRST_HOST_PFN && pfn < this.maxPfn)) {
      throw new ForeignPfnError(pfn, FIRST_HOST_PFN, this.maxPfn);
    }
    return (pfn - FIRST_HOST_PFN + LIST_HEAD_RECORDS) as Page;
  }

  /** Number of the page within the host's memory, from 0. */
  static ordinalOf(page: Page): number {
    return page - LIST_HEAD_RECORDS;
  }

  /** First page of the 2 MiB block that contains `page`. */
  static blockHead(page: Page): Page {
    return (page - ((page - LIST_HEAD_RECORDS) & (HPAGE_PMD_NR - 1))) as Page;
  }

  readState(cpu: Cpu, page: Page): bigint {
    return cpu.readOnce(this.stateWord(page));
  }
}
