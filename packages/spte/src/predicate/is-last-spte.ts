import type { Spte } from "../address/spte.js";
import { PG_LEVEL_4K, type PgLevel } from "../level/pg-level.js";

/** Whether the page-size bit is set: a leaf above 4 KiB. Only for shadow-present entries (`is_large_pte`). */
export function isLargePte(spte: Spte): boolean {
  return BigInt.asUintN(64, spte & 0x80n) !== 0n;
}

/**
 * Whether the entry, found in a table of the given level, maps a page rather than a table. Only for
 * shadow-present entries (`is_last_spte`).
 */
export function isLastSpte(spte: Spte, level: PgLevel): boolean {
  return level === PG_LEVEL_4K || isLargePte(spte);
}
