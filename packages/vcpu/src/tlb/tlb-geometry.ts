import { TlbGeometryError } from "../errors.js";

/** One set-associative array. `entries / ways` sets, a power of two. */
export interface TlbArrayGeometry {
  /** Translations it holds, [1, 65536]. */
  readonly entries: number;
  /** Entries per set, [1, entries]; equal to `entries` it is fully associative. */
  readonly ways: number;
}

/** A TLB: one array per page size. */
export interface TlbGeometry {
  readonly small: TlbArrayGeometry;
  /** 2 MiB pages. */
  readonly large: TlbArrayGeometry;
  /** 1 GiB pages. */
  readonly huge: TlbArrayGeometry;
}

/**
 * Second level of a current server core: 6 MiB of reach with 4 KiB pages, 2 GiB with 2 MiB pages, 16 GiB with 1 GiB
 * pages. The small array and the 16 huge entries are Skylake's (Intel 64 Optimization Reference Manual, Skylake: 1,536
 * entries, 12 ways, shared by 4 KiB and 2 MiB pages; 16 entries for 1 GiB pages). Here the large pages have an array of
 * their own, and the huge array is fully associative.
 */
export const DEFAULT_TLB_GEOMETRY: TlbGeometry = {
  small: { entries: 1536, ways: 12 },
  large: { entries: 1024, ways: 8 },
  huge: { entries: 16, ways: 16 },
};

function checkArray(pageSize: string, { entries, ways }: TlbArrayGeometry): void {
  const sets = entries / ways;
  const sized = Number.isInteger(entries) && entries >= 1 && entries <= 65536 && Number.isInteger(ways);
  // A power of two has one bit, so no bit in common with its predecessor.
  if (!sized || ways < 1 || !Number.isInteger(sets) || sets < 1 || (sets & (sets - 1)) !== 0) {
    throw new TlbGeometryError(pageSize, entries, ways);
  }
}

/** @throws TlbGeometryError for an array whose sets are not a power of two, or that is out of range. */
export function checkTlbGeometry(geometry: TlbGeometry): void {
  checkArray("4 KiB", geometry.small);
  checkArray("2 MiB", geometry.large);
  checkArray("1 GiB", geometry.huge);
}
