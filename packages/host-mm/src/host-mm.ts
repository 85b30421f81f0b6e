import type { Cpu } from "@kvm-age/machine";
import type { Hva, HvaToPfnRequest, HvaToPfnResult, PrimaryMmu, ReleaseHow } from "@kvm-age/memslot";
import type { Pfn, PgLevel } from "@kvm-age/spte";
import { NoContentsError } from "./errors.js";
import { getUserPageFast } from "./gup/get-user-page-fast.js";
import { hostPfnMappingLevel } from "./gup/host-pfn-mapping-level.js";
import { hvaToPfn } from "./gup/hva-to-pfn.js";
import { type NO_PFN, pagemapLookup } from "./gup/pagemap-lookup.js";
import { releasePage } from "./gup/release-page.js";
import type { HostMmHandle } from "./host-mm-init.js";
import { exitMmap } from "./mm/exit-mmap.js";
import type { MmStruct } from "./mm/mm-struct.js";
import { mmapAnonymous } from "./mm/mmap-anonymous.js";
import { mmapBacked } from "./mm/mmap-backed.js";
import { mprotect } from "./mm/mprotect.js";
import { madviseDontneed, munmap } from "./mm/munmap.js";
import { readRss } from "./mm/rss.js";
import { userAccess } from "./mm/user-access.js";
import { cmpxchgUser, loadUser, storeUser, type UserCmpxchgResult } from "./mm/user-memory.js";
import type { UserAccessSize } from "./mm/user-word.js";
import type { MmuNotifierChain } from "./notifier/mmu-notifier-chain.js";
import { NULL_PAGE } from "./page/mem-map.js";
import type { PageContents } from "./page/page-contents.js";
import { PageIdle } from "./page-idle/page-idle.js";
import { hvaToIndex, isInMappingWindow } from "./page-table/mapping-window.js";
import { type ReclaimReport, type ReclaimRequest, reclaimPages } from "./reclaim/reclaim-pages.js";
import { type ShrinkOutcome, type ShrinkRequest, shrinkOneFolio } from "./reclaim/shrink-one-folio.js";
import { splitHugePmd } from "./thp/split-huge-pmd.js";

/** Memory in use. Each figure is exact only while nobody changes it. */
export interface HostMmCounts {
  /** Pages of 4 KiB that are mapped (resident set). */
  readonly rss: number;
  /** Pages in use or in a processor's stock of free pages. */
  readonly takenPages: number;
  /** Of these, free pages in processors' stocks. Exact only while nobody allocates. */
  readonly stockedPages: number;
  readonly inactivePages: number;
  readonly activePages: number;
  readonly usedSwapSlots: number;
}

/** How to map anonymous memory. */
export interface MmapOptions {
  /** Ask for 2 MiB pages (`MADV_HUGEPAGE`); in vain on a host without them. */
  readonly thp: boolean;
}

/** How to map memory with bytes. */
export interface MmapBackedOptions {
  /** Whether it may be written (`PROT_WRITE`). */
  readonly writable: boolean;
}

/**
 * One thread's view of the host's memory management around one process that owns a VM: its primary page tables, the pages behind them, what ages
 * and reclaims them, and the MMU notifiers. Made by `createHostMm` and `attachHostMm`. Every operation may run on all
 * processors at once.
 *
 * Errors that any operation may throw besides its own: OutOfMemoryError if the arena has no frame for a page table,
 * SubscriberMissingError if a notifier subscriber is registered in another thread but not in this one.
 */
export class HostMm implements PrimaryMmu {
  /** The MMU notifiers of the process. Register every subscriber in every thread. */
  readonly notifiers: MmuNotifierChain;
  /** `/sys/kernel/mm/page_idle/bitmap`. */
  readonly pageIdle: PageIdle;

  /** @internal The parts, for what this package adds around them. */
  constructor(readonly mm: MmStruct) {
    this.notifiers = mm.notifiers;
    this.pageIdle = new PageIdle(mm);
  }

  /** Data from which another thread makes its view with `attachHostMm`. */
  get handle(): HostMmHandle {
    return this.mm.handle;
  }

  // ---- Address space -------------------------------------------------------------------------------

  /**
   * Maps `bytes` of private, writable, anonymous memory at a multiple of 2 MiB; nothing is populated.
   *
   * @throws InvalidMappingRangeError if `bytes` is not a positive multiple of 4096, or beyond the window of one TiB.
   * @throws AddressSpaceExhaustedError, MapCountError.
   */
  mmapAnonymous(cpu: Cpu, bytes: number, options: MmapOptions): Hva {
    return mmapAnonymous(this.mm, cpu, bytes, options.thp);
  }

  /**
   * Maps `bytes` of shared memory that has bytes, all zero, at a multiple of 2 MiB: one arena frame a page, pfn = frame address / 4096, below
   * `FIRST_HOST_PFN`; for the kernel a `VM_PFNMAP` mapping of RAM without `struct page`. Populated at once by 4 KiB entries, young and clean as
   * `remap_pfn_range` makes them. No folio, no reference count, on no LRU list, in no counter; never reclaimed. `munmap`
   * frees the frames.
   *
   * @throws InvalidMappingRangeError, AddressSpaceExhaustedError, MapCountError.
   * @throws OutOfMemoryError if the arena is too small: a frame and about 80 bytes a page. Nothing stays mapped.
   */
  mmapBacked(cpu: Cpu, bytes: number, options: MmapBackedOptions): Hva {
    return mmapBacked(this.mm, cpu, bytes, options.writable);
  }

  /**
   * Removes the mappings in a range; notifies once, UNMAP. Frames of backed memory are free a grace period later.
   *
   * @throws InvalidMappingRangeError, MapCountError.
   */
  munmap(cpu: Cpu, hva: Hva, bytes: number): void {
    munmap(this.mm, cpu, hva, bytes);
  }

  /**
   * Drops the pages in a range and keeps the mapping; notifies once, CLEAR.
   *
   * @throws InvalidMappingRangeError, UnmappedRangeError.
   * @throws PfnMappingError if backed memory is in the range.
   */
  madviseDontneed(cpu: Cpu, hva: Hva, bytes: number): void {
    madviseDontneed(this.mm, cpu, hva, bytes);
  }

  /**
   * Makes a range read-only or writable; notifies PROTECTION_VMA once for each 512 GiB that have page tables.
   *
   * @throws InvalidMappingRangeError, UnmappedRangeError, MapCountError.
   */
  mprotect(cpu: Cpu, hva: Hva, bytes: number, writable: boolean): void {
    mprotect(this.mm, cpu, hva, bytes, writable);
  }

  /**
   * Replaces the 2 MiB leaf at `hva` by 512 PTEs; notifies CLEAR. False if there is no leaf. The pages stay one folio until reclaim
   * divides it.
   */
  splitHugePmd(cpu: Cpu, hva: Hva): boolean {
    return isInMappingWindow(hva) && splitHugePmd(this.mm, cpu, hvaToIndex(hva));
  }

  /**
   * An access of the VMM: faults if it must and sets the primary Accessed and Dirty bits.
   *
   * @throws SegmentationFaultError, HostOutOfMemoryError.
   */
  userAccess(cpu: Cpu, hva: Hva, write: boolean): void {
    userAccess(this.mm, cpu, hva, write);
  }

  /** The process exits: releases the notifiers once and unmaps everything. The last operation on the address space. */
  exitMmap(cpu: Cpu): void {
    exitMmap(this.mm, cpu);
  }

  // ---- What KVM asks -------------------------------------------------------------------------------

  /**
   * The page at `hva` with a reference, faulted in if needed. `needs-io` only with `noWait`, for a page that must be read from swap or is
   * locked; `fault` where no mapping allows the access. Backed memory has no references, and answers a forbidden write with `ro-fault`.
   *
   * @throws HostOutOfMemoryError if no page is free.
   */
  hvaToPfn(cpu: Cpu, hva: Hva, request: HvaToPfnRequest): HvaToPfnResult {
    return hvaToPfn(this.mm, cpu, hva, request);
  }

  /**
   * `get_user_page_fast_only` for a write: the page at `hva` with a reference, which `releasePage` returns, if its mapping is present and
   * writable; else null. Takes no lock, faults nothing in, does not sleep. Null for backed memory, which has no references.
   */
  getUserPageFastOnly(cpu: Cpu, hva: Hva): Pfn | null {
    if (!isInMappingWindow(hva)) return null;
    const page = getUserPageFast(this.mm, cpu, hvaToIndex(hva));
    return page === NULL_PAGE ? null : this.mm.memMap.pageToPfn(page);
  }

  /** Level of the present leaf at `hva`, 1 or 2; 1 if there is none. */
  hostPfnMappingLevel(cpu: Cpu, hva: Hva): PgLevel {
    return hostPfnMappingLevel(this.mm, cpu, hva);
  }

  /**
   * Drops the reference of `hvaToPfn`; `clean` and `dirty` mark the page accessed, `dirty` also dirty. Nothing to do for frames of
   * backed memory.
   *
   * @throws ForeignPfnError, PageReferenceError.
   */
  releasePage(cpu: Cpu, pfn: Pfn, how: ReleaseHow): void {
    releasePage(this.mm, cpu, pfn, how);
  }

  /** The pfn mapped at `hva`, or -1 (`/proc/<pid>/pagemap`). */
  pagemapLookup(cpu: Cpu, hva: Hva): Pfn | typeof NO_PFN {
    return pagemapLookup(this.mm, cpu, hva);
  }

  // ---- What KVM reads and writes -------------------------------------------------------------------

  // All three walk the primary page tables as the hardware does, with Accessed and Dirty. What is not mapped is faulted in, which sleeps
  // (so never under mmu_lock), unless `atomic`: then it is a fault. `cmpxchgUser` has no use for that and is never atomic. Addresses are aligned to `size` bytes, values are
  // little-endian in [0, 2^(8 * size)). Pages of anonymous memory have no bytes: they read 0 and drop what is written.

  /**
   * `__get_user`: the `size` bytes at `hva`; null if no mapping allows the access, or with `atomic` if it is not present.
   *
   * @throws UserAccessAlignmentError.
   * @throws HostOutOfMemoryError if no page is free for the fault.
   */
  loadUser(cpu: Cpu, hva: Hva, size: UserAccessSize, atomic: boolean): bigint | null {
    return loadUser(this.mm, cpu, hva, size, atomic);
  }

  /**
   * `__put_user`: stores `value`; false where `loadUser` says null, and where the mapping is not writable.
   *
   * @throws UserAccessAlignmentError, UserAccessValueError, HostOutOfMemoryError.
   */
  storeUser(cpu: Cpu, hva: Hva, size: UserAccessSize, value: bigint, atomic: boolean): boolean {
    return storeUser(this.mm, cpu, hva, size, value, atomic);
  }

  /**
   * `__try_cmpxchg_user`: one locked step, fully ordered; four bytes never fail because of their neighbours. `changed` if another value than `expected` was found,
   * `fault` where `storeUser` says false.
   *
   * @throws UserAccessAlignmentError, UserAccessValueError, HostOutOfMemoryError.
   */
  cmpxchgUser(
    cpu: Cpu,
    hva: Hva,
    size: UserAccessSize,
    expected: bigint,
    replacement: bigint,
  ): UserCmpxchgResult {
    return cmpxchgUser(this.mm, cpu, { hva, size }, expected, replacement);
  }

  // ---- Reclaim -------------------------------------------------------------------------------------

  /** Tries one folio: the last inactive one, or the one asked for. @throws ForeignPfnError. */
  shrinkOneFolio(cpu: Cpu, request: ShrinkRequest = {}): ShrinkOutcome {
    return shrinkOneFolio(this.mm, cpu, request);
  }

  /** Steps of `shrinkOneFolio` until `target` pages are free or all were looked at twice. */
  reclaimPages(cpu: Cpu, request: ReclaimRequest): ReclaimReport {
    return reclaimPages(this.mm, cpu, request);
  }

  /** Whether more than `memoryLimitPages` are taken. What to do about it is the caller's decision. */
  overLimit(cpu: Cpu): boolean {
    return this.mm.zone.takenPages(cpu) > this.mm.handle.memoryLimitPages;
  }

  /** Puts all folios that wait in processors' batches on the LRU lists. */
  lruAddDrainAll(cpu: Cpu): void {
    this.mm.folioBatches.lruAddDrainAll(cpu);
  }

  // ---- Observation ---------------------------------------------------------------------------------

  counts(cpu: Cpu): HostMmCounts {
    return {
      rss: readRss(this.mm, cpu),
      takenPages: this.mm.zone.takenPages(cpu),
      stockedPages: this.mm.zone.stockedPages(cpu),
      inactivePages: this.mm.lruvec.inactivePages(cpu),
      activePages: this.mm.lruvec.activePages(cpu),
      usedSwapSlots: this.mm.swap.usedSlots(cpu),
    };
  }

  /** Contents token of a page. @throws NoContentsError, ForeignPfnError. */
  readContent(cpu: Cpu, pfn: Pfn): bigint {
    return this.contents.read(cpu, this.mm.memMap.pfnToPage(pfn));
  }

  /**
   * Writes the contents token of a page, in [0, 2^64). Marks nothing dirty: that is for whoever maps the page.
   *
   * @throws NoContentsError, ForeignPfnError.
   */
  writeContent(cpu: Cpu, pfn: Pfn, value: bigint): void {
    this.contents.write(cpu, this.mm.memMap.pfnToPage(pfn), value);
  }

  private get contents(): PageContents {
    if (this.mm.contents === null) throw new NoContentsError();
    return this.mm.contents;
  }
}
