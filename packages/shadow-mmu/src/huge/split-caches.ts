import {
  type Address,
  type Cpu,
  type FrameAllocator,
  ObjectCache,
  objectCacheBytes,
  offset,
  type Slab,
} from "@kvm-age/machine";
import type { ShadowPageCaches } from "../hash/shadow-page-caches.js";
import { shadowPageSource } from "../page/shadow-page-source.js";

/** `SPLIT_DESC_CACHE_MIN_NR_OBJECTS`: one descriptor for each new leaf, one for the link. */
const SPLIT_DESC_CACHE_MIN_NR_OBJECTS = 513;
/** `KVM_ARCH_NR_OBJS_PER_MEMORY_CACHE`. */
const OBJECTS_PER_CACHE = 40;
const DESCRIPTORS = SPLIT_DESC_CACHE_MIN_NR_OBJECTS + OBJECTS_PER_CACHE;

const HEADER_CACHE = objectCacheBytes(DESCRIPTORS);
const SHADOW_PAGE_CACHE = HEADER_CACHE + objectCacheBytes(OBJECTS_PER_CACHE);

/** Bytes of the caches in the arena; all zero is empty ones. */
export const SPLIT_CACHES_BYTES: number = SHADOW_PAGE_CACHE + objectCacheBytes(OBJECTS_PER_CACHE);

/** Where the caches are filled from. */
export interface SplitCacheSources {
  readonly frames: FrameAllocator;
  readonly headers: Slab;
  readonly descriptors: Slab;
}

/**
 * A VM's stock for splitting huge pages, which no vCPU does (`kvm->arch.split_*_cache`). Filled outside `mmu_lock`, emptied under it;
 * `slots_lock` keeps it to one thread.
 */
export class SplitCaches implements ShadowPageCaches {
  /** `split_desc_cache`. */
  readonly descriptors: ObjectCache;
  /** `split_page_header_cache`. */
  readonly headers: ObjectCache;
  /** `split_shadow_page_cache`. */
  readonly shadowPages: ObjectCache;
  /** Splits make direct pages only. */
  readonly shadowedInfo = null;

  /** @param address of `SPLIT_CACHES_BYTES` bytes, a multiple of 8 */
  constructor(address: Address, sources: SplitCacheSources) {
    this.descriptors = new ObjectCache(address, DESCRIPTORS, sources.descriptors);
    this.headers = new ObjectCache(offset(address, HEADER_CACHE), OBJECTS_PER_CACHE, sources.headers);
    this.shadowPages = new ObjectCache(
      offset(address, SHADOW_PAGE_CACHE),
      OBJECTS_PER_CACHE,
      shadowPageSource(sources.frames),
    );
  }

  /** Whether a split could run out of something (`need_topup_split_caches`). */
  needTopUp(cpu: Cpu): boolean {
    return (
      this.descriptors.count(cpu) < SPLIT_DESC_CACHE_MIN_NR_OBJECTS ||
      this.headers.count(cpu) < 1 ||
      this.shadowPages.count(cpu) < 1
    );
  }

  /**
   * `topup_split_caches`: fills the caches for one split at least. Sleeps.
   *
   * @throws OutOfMemoryError
   */
  topUp(cpu: Cpu): void {
    this.descriptors.topUp(cpu, SPLIT_DESC_CACHE_MIN_NR_OBJECTS);
    this.headers.topUp(cpu, 1);
    this.shadowPages.topUp(cpu, 1);
  }

  /** `mmu_free_vm_memory_caches`: returns the whole stock, when the VM goes. */
  drain(cpu: Cpu): void {
    this.descriptors.drain(cpu);
    this.headers.drain(cpu);
    this.shadowPages.drain(cpu);
  }
}
