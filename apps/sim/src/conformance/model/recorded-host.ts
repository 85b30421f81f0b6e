import type { Cpu } from "@kvm-age/machine";
import { type Hva, type HvaToPfnRequest, type HvaToPfnResult, PAGE_SIZE } from "@kvm-age/memslot";
import type { ShadowMmuHost, UserCmpxchgResult } from "@kvm-age/shadow-mmu";
import { kvmPagesPerHpage, type Pfn, PG_LEVEL_4K, type PgLevel } from "@kvm-age/spte";

/** A page of the VM's owner, as the trace shows that the kernel found it. */
interface HostPage {
  readonly pfn: number;
  /** Level of the owner's mapping. */
  readonly level: PgLevel;
  readonly writable: boolean;
}

/**
 * The host of a recorded VM: its page tables as far as the trace lets one know them, and the bytes of guest page tables. What it answers is
 * input of the replay. It lives outside the arena: the host is not under test.
 */
export class RecordedHost implements ShadowMmuHost {
  private readonly pages = new Map<number, HostPage>();
  private readonly words = new Map<number, bigint>();
  private lookupsFail = false;
  private prefetchable: ReadonlySet<number> | null = null;

  /**
   * Prepares the answers for one fault.
   *
   * @param finds whether the kernel found a page; if not, no lookup finds one
   * @param prefetchable pages, by hva, that a lookup without waiting may find; null: those that are known to be mapped
   */
  expectFault(finds: boolean, prefetchable: ReadonlySet<number> | null): void {
    this.lookupsFail = !finds;
    this.prefetchable = prefetchable;
  }

  /** The owner maps the page at `hva`, a multiple of 4096; at a huge level all pages of its frame. */
  learnPage(hva: number, pfn: number, level: PgLevel, writable: boolean): void {
    const inside = Math.floor(hva / PAGE_SIZE) % kvmPagesPerHpage(level);
    const first = hva - inside * PAGE_SIZE;
    for (let index = 0; index < kvmPagesPerHpage(level); index++) {
      this.pages.set(first + index * PAGE_SIZE, { pfn: pfn - inside + index, level, writable });
    }
  }

  /** What is known to be mapped at `hva`. */
  page(hva: number): HostPage | null {
    return this.pages.get(hva - (hva % PAGE_SIZE)) ?? null;
  }

  /** The owner's mapping of [start, end) changes: nothing is known of it until the trace shows more. */
  forget(start: number, end: number): void {
    const first = start - (start % PAGE_SIZE);
    const pages = Math.ceil((end - first) / PAGE_SIZE);
    const known = pages < this.pages.size ? hvasFrom(first, pages) : [...this.pages.keys()];
    for (const hva of known) if (hva >= first && hva < end) this.forgetPage(hva);
  }

  /** The word of guest memory at `hva`, null if unknown. */
  word(hva: number): bigint | null {
    return this.words.get(hva) ?? null;
  }

  /** Guest memory holds `value` at `hva`, a multiple of 8. */
  learnWord(hva: number, value: bigint): void {
    this.words.set(hva, value);
  }

  hvaToPfn(_cpu: Cpu, hva: Hva, request: HvaToPfnRequest): HvaToPfnResult {
    const page = this.lookupsFail ? null : this.page(hva);
    if (page === null || (request.write && !page.writable)) return { error: "sigpending" };
    return { error: null, pfn: page.pfn as Pfn, mapWritable: page.writable };
  }

  hostPfnMappingLevel(_cpu: Cpu, hva: Hva): PgLevel {
    return this.page(hva)?.level ?? PG_LEVEL_4K;
  }

  releasePage(): void {}

  getUserPageFastOnly(_cpu: Cpu, hva: Hva): Pfn | null {
    const page = this.page(hva);
    const found = this.prefetchable === null || this.prefetchable.has(hva);
    return found && page?.writable === true ? (page.pfn as Pfn) : null;
  }

  loadUser(_cpu: Cpu, hva: Hva): bigint | null {
    return this.words.get(hva) ?? 0n;
  }

  storeUser(_cpu: Cpu, hva: Hva, _size: 4 | 8, value: bigint): boolean {
    this.words.set(hva, value);
    return true;
  }

  cmpxchgUser(_cpu: Cpu, hva: Hva, _size: 4 | 8, expected: bigint, replacement: bigint): UserCmpxchgResult {
    if ((this.words.get(hva) ?? 0n) !== expected) return "changed";
    this.words.set(hva, replacement);
    return "done";
  }

  private forgetPage(hva: number): void {
    const page = this.pages.get(hva);
    if (page === undefined) return;
    this.pages.delete(hva);
    // What is left of a huge page after a hole was made in it is mapped by small ones.
    if (page.level > PG_LEVEL_4K) this.splitAround(hva, page.level);
  }

  private splitAround(hva: number, level: PgLevel): void {
    const bytes = kvmPagesPerHpage(level) * PAGE_SIZE;
    const first = hva - (hva % bytes);
    for (let at = first; at < first + bytes; at += PAGE_SIZE) {
      const page = this.pages.get(at);
      if (page !== undefined) this.pages.set(at, { ...page, level: PG_LEVEL_4K });
    }
  }
}

function hvasFrom(first: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, index) => first + index * PAGE_SIZE);
}
