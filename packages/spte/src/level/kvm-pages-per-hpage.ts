import type { PgLevel } from "./pg-level.js";

const PAGES_PER_HPAGE: readonly number[] = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/** Number of 4 KiB pages under one entry of the level: 1, 512, 262144, … (kernel `KVM_PAGES_PER_HPAGE`). */
export function kvmPagesPerHpage(level: PgLevel): number {
  return PAGES_PER_HPAGE[level - 1]!;
}
