import type { PgLevel } from "../level/pg-level.js";
import type { Gfn } from "./gfn.js";

/** Gfn bits a 32-bit shift can reach: below this bound the fast path is exact. */
const INT32_LIMIT = 2 ** 31;

/** Pages covered by one entry at level n+1, as divisors for gfns beyond 31 bits. */
const PAGES_PER_ENTRY: readonly number[] = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/**
 * Number of the entry that translates `gfn` in a table of the given level, 0 to 511 (kernel `SPTE_INDEX`
 * applied to the address `gfn << 12`).
 */
export function spteIndex(gfn: Gfn, level: PgLevel): number {
  if (gfn < INT32_LIMIT && level < 5) return (gfn >> ((level - 1) * 9)) & 511;
  return Math.floor(gfn / PAGES_PER_ENTRY[level - 1]!) % 512;
}
