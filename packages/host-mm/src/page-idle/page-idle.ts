import type { Cpu } from "@kvm-age/machine";
import { PageIdleAlignmentError, PageIdleRangeError } from "../errors.js";
import type { MmStruct } from "../mm/mm-struct.js";
import { folioClear, folioSet, folioTest } from "../page/folio-flags.js";
import { folioPut } from "../page/folio-put.js";
import { folioTryGet } from "../page/folio-reference.js";
import { FIRST_HOST_PFN, NULL_PAGE, type Page } from "../page/mem-map.js";
import { PG_IDLE, PG_LRU, PG_TAIL, PG_YOUNG } from "../page/page-state.js";
import { pmdpClearYoungNotify, ptepClearYoungNotify } from "../rmap/clear-young-notify.js";
import { clearYoungRmap } from "../rmap/clear-young-rmap.js";

const BITS_PER_WORD = 64;
const BYTES_PER_WORD = 8;

/**
 * The file `/sys/kernel/mm/page_idle/bitmap`: pfn p is bit p % 64 of word p / 64. Bits of pfns that are no LRU folio of their
 * own (arena frames, free pages, tails of huge folios, pages still in a batch) read 0 and ignore writes.
 */
export class PageIdle {
  constructor(private readonly mm: MmStruct) {}

  /** Words of the bitmap; the last may be partly behind the last pfn. */
  get words(): number {
    return Math.ceil(this.mm.memMap.maxPfn / BITS_PER_WORD);
  }

  /**
   * Reads one word: a bit is 1 if the page was marked idle and no mapping of it was used since. Asks the mappings of pages marked
   * idle, which clears their Accessed bits.
   */
  readWord(cpu: Cpu, wordIndex: number): bigint {
    let bits = 0n;
    for (let bit = 0; bit < BITS_PER_WORD; bit++) {
      if (this.readBit(cpu, wordIndex * BITS_PER_WORD + bit)) bits |= 1n << BigInt(bit);
    }
    return bits;
  }

  /** Writes one word: clears the Accessed bits of every page whose bit is 1 and marks it idle; bits that are 0 do nothing. */
  writeWord(cpu: Cpu, wordIndex: number, bits: bigint): void {
    for (let bit = 0; bit < BITS_PER_WORD; bit++) {
      if (((bits >> BigInt(bit)) & 1n) === 0n) continue;
      this.writeBit(cpu, wordIndex * BITS_PER_WORD + bit);
    }
  }

  /**
   * `page_idle_bitmap_read`: the words from `byteOffset`, at most `length` bytes of them; none at or behind the end.
   *
   * @throws PageIdleAlignmentError if offset or length is no multiple of 8.
   */
  read(cpu: Cpu, byteOffset: number, length: number): bigint[] {
    const words: bigint[] = [];
    const end = this.endWord(byteOffset, length);
    for (let word = byteOffset / BYTES_PER_WORD; word < end; word++) words.push(this.readWord(cpu, word));
    return words;
  }

  /**
   * `page_idle_bitmap_write`: writes `words` from `byteOffset`, truncated at the end. Returns the bytes written.
   *
   * @throws PageIdleAlignmentError if the offset is no multiple of 8.
   * @throws PageIdleRangeError if the first pfn is behind the last page.
   */
  write(cpu: Cpu, byteOffset: number, words: readonly bigint[]): number {
    const end = this.endWord(byteOffset, words.length * BYTES_PER_WORD);
    const first = byteOffset / BYTES_PER_WORD;
    if (first * BITS_PER_WORD >= this.mm.memMap.maxPfn) {
      throw new PageIdleRangeError(byteOffset, this.words * BYTES_PER_WORD);
    }
    for (let word = first; word < end; word++) this.writeWord(cpu, word, words[word - first]!);
    return (end - first) * BYTES_PER_WORD;
  }

  /** Word behind the last of an access, truncated at the end of the bitmap. */
  private endWord(byteOffset: number, length: number): number {
    if (!isWordAligned(byteOffset) || !isWordAligned(length)) {
      throw new PageIdleAlignmentError(byteOffset, length);
    }
    return Math.min(this.words, (byteOffset + length) / BYTES_PER_WORD);
  }

  private readBit(cpu: Cpu, pfn: number): boolean {
    const { memMap } = this.mm;
    const folio = this.pageIdleGetFolio(cpu, pfn);
    if (folio === NULL_PAGE) return false;
    let idle = folioTest(memMap, cpu, folio, PG_IDLE);
    if (idle) {
      // The page may have been used without clearing the flag; the mappings know.
      this.clearReferences(cpu, folio);
      idle = folioTest(memMap, cpu, folio, PG_IDLE);
    }
    this.put(cpu, folio);
    return idle;
  }

  private writeBit(cpu: Cpu, pfn: number): void {
    const folio = this.pageIdleGetFolio(cpu, pfn);
    if (folio === NULL_PAGE) return;
    this.clearReferences(cpu, folio);
    folioSet(this.mm.memMap, cpu, folio, PG_IDLE);
    this.put(cpu, folio);
  }

  /**
   * `page_idle_get_folio`: the folio at `pfn` with a reference, or `NULL_PAGE`. Between the look and the reference the page may be freed and used
   * anew; the second look makes sure that what is held is a head on a list.
   */
  private pageIdleGetFolio(cpu: Cpu, pfn: number): Page {
    const { memMap } = this.mm;
    if (pfn < FIRST_HOST_PFN || pfn >= memMap.maxPfn) return NULL_PAGE;
    const page = memMap.pfnToPage(pfn);
    if (!this.isUsable(cpu, page) || !folioTryGet(memMap, cpu, page)) return NULL_PAGE;
    if (this.isUsable(cpu, page)) return page;
    this.put(cpu, page);
    return NULL_PAGE;
  }

  private isUsable(cpu: Cpu, page: Page): boolean {
    return (this.mm.memMap.readState(cpu, page) & (PG_LRU | PG_TAIL)) === PG_LRU;
  }

  /** `page_idle_clear_pte_refs`: asks all mappings; if any was young, the folio is not idle but young. */
  private clearReferences(cpu: Cpu, folio: Page): void {
    const { mm } = this;
    if (!clearYoungRmap(mm, cpu, folio, ptepClearYoungNotify, pmdpClearYoungNotify)) return;
    folioClear(mm.memMap, cpu, folio, PG_IDLE);
    folioSet(mm.memMap, cpu, folio, PG_YOUNG);
  }

  private put(cpu: Cpu, folio: Page): void {
    folioPut(this.mm.memMap, this.mm.lruvec, this.mm.zone, cpu, folio);
  }
}

function isWordAligned(bytes: number): boolean {
  return bytes >= 0 && bytes % BYTES_PER_WORD === 0;
}
