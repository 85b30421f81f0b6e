// The first word of a page record: flags in bits 19:0, references in bits 35:20, index in bits 63:36. One word, so
// that "freeze the references if they are n and the page is clean" is one compare-exchange.

/** The folio lock (kernel `PG_locked`). */
export const PG_LOCKED: bigint = 1n << 0n;
/** Referenced once since it was last looked at (kernel `PG_referenced`). */
export const PG_REFERENCED: bigint = 1n << 1n;
/** The contents differ from every copy in swap (kernel `PG_dirty`). */
export const PG_DIRTY: bigint = 1n << 2n;
/** On an LRU list (kernel `PG_lru`). */
export const PG_LRU: bigint = 1n << 3n;
/** On, or destined for, the active list (kernel `PG_active`). */
export const PG_ACTIVE: bigint = 1n << 4n;
/** In the swap cache: the page owns a swap slot (kernel `PG_swapcache`). */
export const PG_SWAPCACHE: bigint = 1n << 5n;
/** Marked idle, and not seen used since (kernel `PG_idle`). */
export const PG_IDLE: bigint = 1n << 6n;
/** Idle tracking took an Accessed bit that reclaim has not seen (kernel `PG_young`). */
export const PG_YOUNG: bigint = 1n << 7n;
/** First page of a 2 MiB folio (kernel `PG_head`). */
export const PG_HEAD: bigint = 1n << 8n;
/** Later page of a 2 MiB folio; its other bits are 0 (kernel `PageTail`). */
export const PG_TAIL: bigint = 1n << 9n;
/** In the free memory of the zone or of a processor (kernel `PG_buddy`). */
export const PG_FREE: bigint = 1n << 10n;
/** Mapped by the address space, by a PMD or at least one PTE; such a mapping holds one reference (kernel `_mapcount`). */
export const PG_MAPPED: bigint = 1n << 11n;

/** Bits of the reference count. */
const REFERENCE_BITS = 0xffff00000n;
const INDEX_SHIFT = 36n;

/** One reference, to be added to or subtracted from a state. */
export const ONE_REFERENCE: bigint = 1n << 20n;

const ONE_REFERENCE_AS_NUMBER = 2 ** 20;

/** References that a state holds, 0 … 65535 (kernel `folio_ref_count`). */
export function stateReferences(state: bigint): number {
  return Number(state & REFERENCE_BITS) / ONE_REFERENCE_AS_NUMBER;
}

/** Page number within the mapping window at which the page is, or was last, mapped (kernel `folio->index`). */
export function stateIndex(state: bigint): number {
  return Number(BigInt.asUintN(64, state) >> INDEX_SHIFT);
}

/** A state from its parts. `index` in [0, 2^28), `references` in [0, 2^16). */
export function makeState(flags: bigint, references: number, index: number): bigint {
  const counted = flags | BigInt(references * ONE_REFERENCE_AS_NUMBER);
  return BigInt.asUintN(64, counted | (BigInt(index) << INDEX_SHIFT));
}

/** The state with its references set to 0: `page_ref_freeze`. */
export function frozenState(state: bigint): bigint {
  return state & ~REFERENCE_BITS;
}

/** The state with another index, in [0, 2^28). */
export function withIndex(state: bigint, index: number): bigint {
  return BigInt.asUintN(Number(INDEX_SHIFT), state) | (BigInt(index) << INDEX_SHIFT);
}
