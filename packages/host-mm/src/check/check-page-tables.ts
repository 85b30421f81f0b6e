import { type Address, type Cpu, FRAME_BYTES, NULL_ADDRESS } from "@kvm-age/machine";
import type { MmStruct } from "../mm/mm-struct.js";
import { readRss } from "../mm/rss.js";
import { pageFolio } from "../page/folio-reference.js";
import { HPAGE_PMD_NR, type Page } from "../page/mem-map.js";
import { PG_HEAD, PG_MAPPED, stateIndex } from "../page/page-state.js";
import { indexToHva, MAPPING_WINDOW_PAGES } from "../page-table/mapping-window.js";
import {
  PTE_NONE,
  pmdTransHuge,
  ptePfn,
  ptePresent,
  pteSpecial,
  swapSlotOfPte,
  tableOfEntry,
} from "../page-table/pte.js";
import { VM_PFNMAP } from "../vma/vma-table.js";

/** Pages under one PUD entry, which a missing PMD table leaves out (kernel `PUD_SIZE`). */
const PUD_PAGES = 2 ** 18;

/** What the page tables hold. */
export interface Mappings {
  /** Index at which each page of 4 KiB is mapped. */
  readonly pages: ReadonlyMap<Page, number>;
  /** Heads of folios that a 2 MiB leaf maps. */
  readonly hugeLeaves: ReadonlySet<Page>;
  /** Index of the entry that names each swap slot. */
  readonly slots: ReadonlyMap<number, number>;
  /** Index at which each frame of backed memory is mapped. */
  readonly backedFrames: ReadonlyMap<Address, number>;
  /** PTE tables. */
  readonly tables: ReadonlySet<Address>;
  readonly violations: readonly string[];
}

/** Walks every mapping; checks that pages map back, once each, and that the resident set is what is mapped. */
export function checkPageTables(mm: MmStruct, cpu: Cpu): Mappings {
  const walk = new MappingWalk(mm, cpu);
  walk.wholeWindow();
  const rss = readRss(mm, cpu);
  if (rss !== walk.pages.size)
    walk.violations.push(`resident set is ${rss}, ${walk.pages.size} pages are mapped`);
  return walk;
}

class MappingWalk implements Mappings {
  readonly pages: Map<Page, number> = new Map();
  readonly hugeLeaves: Set<Page> = new Set();
  readonly slots: Map<number, number> = new Map();
  readonly backedFrames: Map<Address, number> = new Map();
  readonly tables: Set<Address> = new Set();
  readonly violations: string[] = [];

  constructor(
    private readonly mm: MmStruct,
    private readonly cpu: Cpu,
  ) {}

  wholeWindow(): void {
    for (let index = 0; index < MAPPING_WINDOW_PAGES; ) {
      const pmd = this.mm.pageTables.pmdOffset(this.cpu, index);
      if (pmd !== NULL_ADDRESS) this.pmd(this.cpu.readOnce(pmd), index);
      index += pmd === NULL_ADDRESS ? PUD_PAGES : HPAGE_PMD_NR;
    }
  }

  private pmd(entry: bigint, index: number): void {
    if (entry === PTE_NONE) return;
    if (pmdTransHuge(entry)) {
      this.hugeLeaf(entry, index);
      return;
    }
    this.tables.add(tableOfEntry(entry) as Address);
    for (let page = 0; page < HPAGE_PMD_NR; page++) {
      this.pte(this.cpu.readOnce(this.mm.pageTables.pteOffset(entry, page)), index + page);
    }
  }

  private hugeLeaf(entry: bigint, index: number): void {
    const head = this.mm.memMap.pfnToPage(ptePfn(entry));
    this.hugeLeaves.add(head);
    if ((this.mm.memMap.readState(this.cpu, head) & PG_HEAD) === 0n) {
      this.violations.push(`2 MiB leaf at ${hexHva(index)} maps a page that heads no huge folio`);
    }
    for (let page = 0; page < HPAGE_PMD_NR; page++) this.page((head + page) as Page, index + page);
  }

  private pte(entry: bigint, index: number): void {
    if (entry === PTE_NONE) return;
    const vma = this.mm.vmas.vmaLookup(this.cpu, index);
    if (vma < 0) this.violations.push(`${hexHva(index)} has an entry and belongs to no mapping`);
    const isBacked = vma >= 0 && (this.mm.vmas.flags(this.cpu, vma) & VM_PFNMAP) !== 0;
    if (isBacked !== pteSpecial(entry)) {
      this.violations.push(`${hexHva(index)} maps memory of another kind than its mapping`);
    }
    if (pteSpecial(entry)) {
      this.backedFrame((ptePfn(entry) * FRAME_BYTES) as Address, index);
      return;
    }
    if (ptePresent(entry)) {
      this.page(this.mm.memMap.pfnToPage(ptePfn(entry)), index);
      return;
    }
    const slot = swapSlotOfPte(entry);
    if (this.slots.has(slot))
      this.violations.push(`swap slot ${slot} is named twice, again at ${hexHva(index)}`);
    this.slots.set(slot, index);
  }

  private backedFrame(frame: Address, index: number): void {
    if (this.backedFrames.has(frame)) {
      this.violations.push(`frame 0x${frame.toString(16)} is mapped twice, again at ${hexHva(index)}`);
    }
    this.backedFrames.set(frame, index);
  }

  private page(page: Page, index: number): void {
    const { memMap } = this.mm;
    if (this.pages.has(page)) this.violations.push(`${nameOf(this.mm, page)} is mapped twice`);
    this.pages.set(page, index);
    const folio = pageFolio(memMap, this.cpu, page);
    const state = memMap.readState(this.cpu, folio);
    if ((state & PG_MAPPED) === 0n) {
      this.violations.push(`${nameOf(this.mm, page)} is mapped at ${hexHva(index)} and does not know it`);
    }
    const backIndex = stateIndex(state) + (page - folio);
    if (backIndex !== index) {
      this.violations.push(
        `${nameOf(this.mm, page)} is mapped at ${hexHva(index)}, its index says ${hexHva(backIndex)}`,
      );
    }
  }
}

/** A page's pfn, for messages. */
export function nameOf(mm: MmStruct, page: Page): string {
  return `pfn 0x${mm.memMap.pageToPfn(page).toString(16)}`;
}

/** The address of page `index`, for messages. */
export function hexHva(index: number): string {
  return `hva 0x${indexToHva(index).toString(16)}`;
}
