import { InvalidPgLevelError } from "../errors.js";

/** Page-table level (kernel `enum pg_level`): 1 holds 4 KiB leaves, 5 is the top of a five-level table. */
export type PgLevel = 1 | 2 | 3 | 4 | 5;

/** Level of 4 KiB pages. */
export const PG_LEVEL_4K: 1 = 1;
/** Level of 2 MiB pages. */
export const PG_LEVEL_2M: 2 = 2;
/** Level of 1 GiB pages. */
export const PG_LEVEL_1G: 3 = 3;
/** Level whose entries cover 512 GiB; holds no leaves. */
export const PG_LEVEL_512G: 4 = 4;
/** Level whose entries cover 256 TiB; holds no leaves. */
export const PG_LEVEL_256T: 5 = 5;

/** Highest level at which KVM maps a leaf: 1 GiB. */
export const KVM_MAX_HUGEPAGE_LEVEL: 3 = 3;

/** Root level of PAE paging. */
export const PT32E_ROOT_LEVEL: 3 = 3;
/** Root level of four-level paging. */
export const PT64_ROOT_4LEVEL: 4 = 4;
/** Root level of five-level paging. */
export const PT64_ROOT_5LEVEL: 5 = 5;

/**
 * Checks and types a page-table level.
 * @throws InvalidPgLevelError unless `value` is an integer in [1, 5]
 */
export function toPgLevel(value: number): PgLevel {
  if (!Number.isInteger(value) || value < 1 || value > 5) throw new InvalidPgLevelError(value, 1, 5);
  return value as PgLevel;
}
