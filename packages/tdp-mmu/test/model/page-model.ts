/** Pages of a region: what one 2M entry maps. */
export const REGION = 512;
/** Regions of the slot. */
export const REGIONS = 4;

/** One mapping, small or huge. */
export interface Mapping {
  readonly young: boolean;
  readonly writable: boolean;
}

/** A 2M entry: empty, a huge page, or a table of small ones (absent = not mapped). */
type Region =
  | { kind: "none" }
  | ({ kind: "huge" } & Mapping)
  | { kind: "table"; pages: Map<number, Mapping> };

/**
 * Which pages of a slot are mapped, how, and in what state: the TDP MMU as its user sees it, in a few lines of plain
 * JavaScript without entries, locks or tables.
 */
export class PageModel {
  regions: Region[] = [];
  dirty = new Set<number>();
  logging = false;
  hostLevel: 1 | 2 = 1;

  /**
   * @param adBits whether hardware keeps A; without it, aging takes every permission away
   * @param eagerSplit huge pages are split when logging begins
   */
  constructor(
    private readonly adBits: boolean,
    private readonly eagerSplit: boolean,
  ) {
    this.newSlot();
  }

  newSlot(): void {
    this.regions = Array.from({ length: REGIONS }, () => ({ kind: "none" }));
    this.dirty.clear();
    this.logging = false;
  }

  /** The mapping of a page, if there is one. */
  mapping(page: number): Mapping | undefined {
    const region = this.regions[Math.floor(page / REGION)]!;
    if (region.kind === "huge") return region;
    return region.kind === "table" ? region.pages.get(page) : undefined;
  }

  /** The guest reads or writes a page, until it succeeds. */
  access(page: number, write: boolean): void {
    const index = Math.floor(page / REGION);
    const region = this.regions[index]!;
    const mapping = this.mapping(page);
    if (mapping === undefined) {
      this.map(page, index);
    } else if (region.kind === "huge" && write && !mapping.writable && this.logging) {
      this.split(index);
      this.grant(page);
    } else if (write && !mapping.writable) {
      this.change(page, { young: true, writable: true });
      if (this.logging) this.dirty.add(page);
    } else {
      this.change(page, { ...mapping, young: true });
    }
  }

  private map(page: number, index: number): void {
    if (this.hostLevel === 2 && !this.logging) {
      this.regions[index] = { kind: "huge", young: true, writable: true };
      return;
    }
    if (this.regions[index]!.kind === "none") this.regions[index] = { kind: "table", pages: new Map() };
    this.grant(page);
  }

  /** A small page becomes young and writable, and is logged. */
  private grant(page: number): void {
    this.change(page, { young: true, writable: true });
    if (this.logging) this.dirty.add(page);
  }

  private change(page: number, mapping: Mapping): void {
    const index = Math.floor(page / REGION);
    const region = this.regions[index]!;
    if (region.kind === "huge") this.regions[index] = { kind: "huge", ...mapping };
    else if (region.kind === "table") region.pages.set(page, mapping);
  }

  private split(index: number): void {
    const region = this.regions[index]!;
    if (region.kind !== "huge") return;
    const { young, writable } = region;
    const pages = new Map<number, Mapping>();
    for (let page = index * REGION; page < (index + 1) * REGION; page++) pages.set(page, { young, writable });
    this.regions[index] = { kind: "table", pages };
  }

  splitRange(start: number, end: number): void {
    for (let index = 0; index < REGIONS; index++) if (this.touches(index, start, end)) this.split(index);
  }

  private touches(index: number, start: number, end: number): boolean {
    return start < end && index * REGION < end && (index + 1) * REGION > start;
  }

  testAge(start: number, end: number): boolean {
    for (let page = start; page < end; page++) if (this.mapping(page)?.young === true) return true;
    return false;
  }

  age(start: number, end: number): boolean {
    const young = this.testAge(start, end);
    for (let page = start; page < end; page++) {
      const mapping = this.mapping(page);
      if (mapping?.young !== true) continue;
      this.change(page, { young: false, writable: this.adBits && mapping.writable });
    }
    return young;
  }

  unmap(start: number, end: number): void {
    for (const [index, region] of this.regions.entries()) {
      if (region.kind === "huge" && this.touches(index, start, end)) this.regions[index] = { kind: "none" };
      if (region.kind !== "table") continue;
      for (const page of [...region.pages.keys()]) if (page >= start && page < end) region.pages.delete(page);
    }
  }

  startLogging(): void {
    if (this.logging) return;
    this.logging = true;
    this.dirty.clear();
    if (this.eagerSplit) this.splitRange(0, REGIONS * REGION);
    for (let page = 0; page < REGIONS * REGION; page++) this.protect(page);
  }

  private protect(page: number): void {
    const mapping = this.mapping(page);
    if (mapping !== undefined) this.change(page, { ...mapping, writable: false });
  }

  /** Recovers huge pages from the first small page of each table, if the host has them. */
  stopLogging(): void {
    if (!this.logging) return;
    this.logging = false;
    this.dirty.clear();
    if (this.hostLevel === 1) return;
    for (const [index, region] of this.regions.entries()) {
      if (region.kind !== "table" || region.pages.size === 0) continue;
      const first = Math.min(...region.pages.keys());
      this.regions[index] = { kind: "huge", ...region.pages.get(first)! };
    }
  }

  harvest(): number[] {
    const pages = [...this.dirty].sort((left, right) => left - right);
    for (const page of pages) this.protect(page);
    this.dirty.clear();
    return pages;
  }
}
