import { type Address, type Cpu, type LockClass, offset, type SpinLock } from "@kvm-age/machine";
import { ZONE_CARVE_END, ZONE_CARVE_NEXT, ZONE_FRONTIER, ZONE_LOCK, ZONE_TAKEN } from "../mm/mm-layout.js";
import { PCP_COUNT, PCP_FIRST, PCP_LOCK, perCpuArea } from "../mm/per-cpu-area.js";
import {
  FREE_BLOCKS_LIST,
  FREE_PAGES_LIST,
  HPAGE_PMD_NR,
  LIST_HEAD_RECORDS,
  MemMap,
  NULL_PAGE,
  type Page,
} from "../page/mem-map.js";
import { initPageList, pageListAdd, pageListDelete, pageListLast } from "../page/page-list.js";
import { PG_FREE } from "../page/page-state.js";

/** Lock class of a processor's stock of free pages. */
export const PCP_LOCK_CLASS: LockClass = { name: "pcp->lock", sleeps: false };
/** Lock class of the zone's free lists. Inside `pcp->lock`. */
export const ZONE_LOCK_CLASS: LockClass = { name: "zone->lock", sleeps: false };

/** Largest number of pages moved between zone and stock at a time (kernel `pcp->batch`). */
const PCP_BATCH_MAX = 63;

/** Where a zone's state lies in the arena. */
export interface ZoneHandle {
  /** The control block (mm-layout.ts). */
  readonly mm: Address;
  /** The processors' areas. */
  readonly perCpu: Address;
  /** u32 for every 2 MiB block: pages of it that are on the free list. */
  readonly blockCounts: Address;
  readonly maxCpus: number;
}

/**
 * The free host pages (kernel `struct zone`): a list of 2 MiB blocks and a list of single pages under the zone lock,
 * and a stock of single pages for every processor. Blocks are cut into single pages when needed and put together again
 * when their last page returns to the zone. There are two orders instead of the kernel's eleven.
 */
export class Zone {
  private readonly zoneLock: SpinLock;
  /** Pages moved at a time: the kernel's share of the zone's size, at most 63. */
  readonly batch: number;

  constructor(
    private readonly memMap: MemMap,
    private readonly handle: ZoneHandle,
  ) {
    this.zoneLock = { kind: "spinlock", address: offset(handle.mm, ZONE_LOCK), lockClass: ZONE_LOCK_CLASS };
    this.batch = Math.min(PCP_BATCH_MAX, Math.max(1, Math.floor(memMap.pages / 1024)));
  }

  /** Makes the free lists of a zero-filled control block. */
  init(cpu: Cpu): void {
    initPageList(this.memMap, cpu, FREE_PAGES_LIST);
    initPageList(this.memMap, cpu, FREE_BLOCKS_LIST);
  }

  /** Pages in use or in processors' stocks (at most twice `batch` each): what a memory limit is charged with. */
  takenPages(cpu: Cpu): number {
    return cpu.readOnce32(this.word(ZONE_TAKEN));
  }

  /** Pages in all processors' stocks. Exact only while nobody allocates. */
  stockedPages(cpu: Cpu): number {
    let pages = 0;
    for (let id = 0; id < this.handle.maxCpus; id++) {
      pages += cpu.readOnce32(offset(perCpuArea(this.handle.perCpu, id), PCP_COUNT));
    }
    return pages;
  }

  /** `__alloc_pages` of one page, with no reference yet; `NULL_PAGE` if none is left anywhere. */
  allocPage(cpu: Cpu): Page {
    const page = this.allocFromStock(cpu);
    if (page !== NULL_PAGE) return page;
    this.drainAllStocks(cpu);
    return this.allocFromStock(cpu);
  }

  /** Frees a page without references. */
  freePage(cpu: Cpu, page: Page): void {
    cpu.writeOnce(this.memMap.stateWord(page), PG_FREE);
    const area = perCpuArea(this.handle.perCpu, cpu.id);
    const lock = this.stockLock(area);
    cpu.spinLock(lock);
    cpu.writeOnce32(this.memMap.nextWord(page), cpu.readOnce32(offset(area, PCP_FIRST)));
    cpu.writeOnce32(offset(area, PCP_FIRST), page);
    const count = cpu.readOnce32(offset(area, PCP_COUNT)) + 1;
    cpu.writeOnce32(offset(area, PCP_COUNT), count);
    if (count > 2 * this.batch) this.drainStock(cpu, area, this.batch);
    cpu.spinUnlock(lock);
  }

  /** Takes a whole 2 MiB block, with no references yet, by its first page; `NULL_PAGE` if no whole block is free. */
  allocBlock(cpu: Cpu): Page {
    cpu.spinLock(this.zoneLock);
    const block = this.takeBlock(cpu);
    if (block !== NULL_PAGE) this.addTaken(cpu, HPAGE_PMD_NR);
    cpu.spinUnlock(this.zoneLock);
    return block;
  }

  /** Frees the 512 pages from `head`, none of which has references. */
  freeBlock(cpu: Cpu, head: Page): void {
    for (let index = 0; index < HPAGE_PMD_NR; index++) {
      cpu.writeOnce(this.memMap.stateWord((head + index) as Page), PG_FREE);
    }
    cpu.spinLock(this.zoneLock);
    pageListAdd(this.memMap, cpu, head, FREE_BLOCKS_LIST);
    this.addTaken(cpu, -HPAGE_PMD_NR);
    cpu.spinUnlock(this.zoneLock);
  }

  /** `drain_all_pages`: returns every processor's stock to the zone. */
  drainAllStocks(cpu: Cpu): void {
    for (let id = 0; id < this.handle.maxCpus; id++) {
      const area = perCpuArea(this.handle.perCpu, id);
      if (cpu.readOnce32(offset(area, PCP_COUNT)) === 0) continue;
      const lock = this.stockLock(area);
      cpu.spinLock(lock);
      this.drainStock(cpu, area, cpu.readOnce32(offset(area, PCP_COUNT)));
      cpu.spinUnlock(lock);
    }
  }

  private word(wordOffset: number): Address {
    return offset(this.handle.mm, wordOffset);
  }

  private stockLock(area: Address): SpinLock {
    return { kind: "spinlock", address: offset(area, PCP_LOCK), lockClass: PCP_LOCK_CLASS };
  }

  private addTaken(cpu: Cpu, pages: number): void {
    cpu.writeOnce32(this.word(ZONE_TAKEN), cpu.readOnce32(this.word(ZONE_TAKEN)) + pages);
  }

  private allocFromStock(cpu: Cpu): Page {
    const area = perCpuArea(this.handle.perCpu, cpu.id);
    const lock = this.stockLock(area);
    cpu.spinLock(lock);
    if (cpu.readOnce32(offset(area, PCP_COUNT)) === 0) this.refillStock(cpu, area);
    const page = cpu.readOnce32(offset(area, PCP_FIRST)) as Page;
    if (page !== NULL_PAGE) {
      cpu.writeOnce32(offset(area, PCP_FIRST), cpu.readOnce32(this.memMap.nextWord(page)));
      cpu.writeOnce32(offset(area, PCP_COUNT), cpu.readOnce32(offset(area, PCP_COUNT)) - 1);
    }
    cpu.spinUnlock(lock);
    return page;
  }

  /** `rmqueue_bulk`: up to a batch from the zone into the empty stock, to be handed out in ascending order. */
  private refillStock(cpu: Cpu, area: Address): void {
    cpu.spinLock(this.zoneLock);
    let link = offset(area, PCP_FIRST);
    let count = 0;
    while (count < this.batch) {
      const page = this.takePage(cpu);
      if (page === NULL_PAGE) break;
      cpu.writeOnce32(link, page);
      link = this.memMap.nextWord(page);
      count++;
    }
    cpu.writeOnce32(link, NULL_PAGE);
    this.addTaken(cpu, count);
    cpu.spinUnlock(this.zoneLock);
    cpu.writeOnce32(offset(area, PCP_COUNT), count);
  }

  /** `free_pcppages_bulk`: `count` pages from the stock back into the zone. Under the stock's lock. */
  private drainStock(cpu: Cpu, area: Address, count: number): void {
    let page = cpu.readOnce32(offset(area, PCP_FIRST)) as Page;
    cpu.spinLock(this.zoneLock);
    for (let drained = 0; drained < count; drained++) {
      const next = cpu.readOnce32(this.memMap.nextWord(page)) as Page;
      this.returnPage(cpu, page);
      page = next;
    }
    this.addTaken(cpu, -count);
    cpu.spinUnlock(this.zoneLock);
    cpu.writeOnce32(offset(area, PCP_FIRST), page);
    cpu.writeOnce32(offset(area, PCP_COUNT), cpu.readOnce32(offset(area, PCP_COUNT)) - count);
  }

  /** A single page: from the free list, else from a block that is cut for it. Under the zone lock. */
  private takePage(cpu: Cpu): Page {
    const free = pageListLast(this.memMap, cpu, FREE_PAGES_LIST);
    if (free !== FREE_PAGES_LIST) {
      pageListDelete(this.memMap, cpu, free);
      this.countBlock(cpu, free, -1);
      return free;
    }
    if (cpu.readOnce32(this.word(ZONE_CARVE_NEXT)) === cpu.readOnce32(this.word(ZONE_CARVE_END))) {
      this.openBlock(cpu);
    }
    const next = cpu.readOnce32(this.word(ZONE_CARVE_NEXT));
    if (next === cpu.readOnce32(this.word(ZONE_CARVE_END))) return NULL_PAGE;
    cpu.writeOnce32(this.word(ZONE_CARVE_NEXT), next + 1);
    return next as Page;
  }

  /** Picks the block to cut next: a whole one, or the short one at the end of memory. */
  private openBlock(cpu: Cpu): void {
    const block = this.takeBlock(cpu) || this.takeLastPages(cpu);
    if (block === NULL_PAGE) return;
    const end = Math.min(block + HPAGE_PMD_NR, LIST_HEAD_RECORDS + this.memMap.pages);
    cpu.writeOnce32(this.word(ZONE_CARVE_NEXT), block);
    cpu.writeOnce32(this.word(ZONE_CARVE_END), end);
  }

  private takeBlock(cpu: Cpu): Page {
    const block = pageListLast(this.memMap, cpu, FREE_BLOCKS_LIST);
    if (block !== FREE_BLOCKS_LIST) {
      pageListDelete(this.memMap, cpu, block);
      return block;
    }
    const frontier = cpu.readOnce32(this.word(ZONE_FRONTIER));
    if (frontier + HPAGE_PMD_NR > this.memMap.pages) return NULL_PAGE;
    cpu.writeOnce32(this.word(ZONE_FRONTIER), frontier + HPAGE_PMD_NR);
    return (LIST_HEAD_RECORDS + frontier) as Page;
  }

  /** The pages behind the last whole block, which can only be single pages. */
  private takeLastPages(cpu: Cpu): Page {
    const frontier = cpu.readOnce32(this.word(ZONE_FRONTIER));
    if (frontier === this.memMap.pages) return NULL_PAGE;
    cpu.writeOnce32(this.word(ZONE_FRONTIER), this.memMap.pages);
    return (LIST_HEAD_RECORDS + frontier) as Page;
  }

  /** Puts a page on the free list; if its block is complete, moves the block to the list of blocks. */
  private returnPage(cpu: Cpu, page: Page): void {
    pageListAdd(this.memMap, cpu, page, FREE_PAGES_LIST);
    if (this.countBlock(cpu, page, 1) < HPAGE_PMD_NR) return;
    const head = MemMap.blockHead(page);
    for (let index = 0; index < HPAGE_PMD_NR; index++) {
      pageListDelete(this.memMap, cpu, (head + index) as Page);
    }
    this.countBlock(cpu, head, -HPAGE_PMD_NR);
    pageListAdd(this.memMap, cpu, head, FREE_BLOCKS_LIST);
  }

  /** Changes the number of free-list pages of a block; returns the new number. */
  private countBlock(cpu: Cpu, page: Page, change: number): number {
    const word = offset(this.handle.blockCounts, Math.floor(MemMap.ordinalOf(page) / HPAGE_PMD_NR) * 4);
    const count = cpu.readOnce32(word) + change;
    cpu.writeOnce32(word, count);
    return count;
  }
}
