/** Bytes of the control block of a host mm; every group of words that one lock protects has a cache line of its own. */
export const MM_BYTES = 512;

/** Rwlock `mm->mmap_lock`. */
export const MM_MMAP_LOCK = 0;
/** Spinlock `mm->page_table_lock`. */
export const MM_PAGE_TABLE_LOCK = 64;
/** u32: the top page table (kernel `mm->pgd`). */
export const MM_PGD = 72;
/** u32: 1 once `exitMmap` has begun. */
export const MM_EXITED = 76;
/** u32: most notifier subscribers registered by any thread. */
export const MM_NOTIFIER_COUNT = 80;
/** u32: VMAs in use (kernel `mm->map_count`). Under the mmap lock. */
export const MM_MAP_COUNT = 84;
/** The zone: its lock, then the words below. */
export const ZONE_LOCK = 128;
/** u32: ordinal of the first page that was never handed out. */
export const ZONE_FRONTIER = 136;
/** u32: next page of the block being cut into single pages, and the page behind its end. */
export const ZONE_CARVE_NEXT = 140;
export const ZONE_CARVE_END = 144;
/** u32: pages that have left the zone: in use, or in a processor's stock. */
export const ZONE_TAKEN = 148;
/** The LRU lists: their lock, then the words below. */
export const LRUVEC_LOCK = 192;
/** u32: pages on the inactive and on the active list. */
export const LRUVEC_INACTIVE = 200;
export const LRUVEC_ACTIVE = 204;
/** The swap device: its lock, then the words below. */
export const SWAP_LOCK = 256;
/** u32: first slot of the free list, linked through the slot words. */
export const SWAP_FREE = 264;
/** u32: first slot that was never used. */
export const SWAP_FRONTIER = 268;
/** u32: slots in use. */
export const SWAP_USED = 272;
