const PAGE_BYTES = 4096;
const HUGE_PAGE_BYTES = 2 ** 21;
const GIGANTIC_PAGE_BYTES = 2 ** 30;

/** Classes of host-virtual ranges, from small to large. */
export const RANGE_SIZES = [
  "one address",
  "4 KiB",
  "8 KiB to 2 MiB",
  "2 MiB",
  "2 MiB to 1 GiB",
  "1 GiB",
  "more",
  "not whole pages",
] as const;
export type RangeSize = (typeof RANGE_SIZES)[number];

/** The class of the bytes from `start` up to, not including, `end`. */
export function rangeSize(start: number, end: number): RangeSize {
  const bytes = end - start;
  if (bytes === 1) return "one address";
  if (start % PAGE_BYTES !== 0 || end % PAGE_BYTES !== 0) return "not whole pages";
  if (bytes === PAGE_BYTES) return "4 KiB";
  if (bytes < HUGE_PAGE_BYTES) return "8 KiB to 2 MiB";
  if (bytes === HUGE_PAGE_BYTES) return "2 MiB";
  if (bytes < GIGANTIC_PAGE_BYTES) return "2 MiB to 1 GiB";
  return bytes === GIGANTIC_PAGE_BYTES ? "1 GiB" : "more";
}
