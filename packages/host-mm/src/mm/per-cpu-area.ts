import { type Address, offset } from "@kvm-age/machine";

/** Bytes of one processor's area. */
export const PER_CPU_BYTES = 512;

/** Spinlock `pcp->lock`. */
export const PCP_LOCK = 0;
/** u32: first free page in this processor's stock, linked through `next`. */
export const PCP_FIRST = 8;
/** u32: pages in the stock. */
export const PCP_COUNT = 12;
/** u32, modulo 2^32: this processor's share of the resident set size (kernel `mm->rss_stat`). */
export const RSS_DELTA = 16;
/** Spinlock `cpu_fbatches.lock`. */
export const FBATCH_LOCK = 64;
/** u32 count and 31 u32 pages on their way to an LRU list (kernel `cpu_fbatches.lru_add`). */
export const FBATCH_LRU_ADD = 72;
/** u32 count and 31 u32 pages on their way to the active list (kernel `cpu_fbatches.lru_activate`). */
export const FBATCH_LRU_ACTIVATE = 256;

/** Area of processor `cpuId` in the areas from `base`. */
export function perCpuArea(base: Address, cpuId: number): Address {
  return offset(base, cpuId * PER_CPU_BYTES);
}
