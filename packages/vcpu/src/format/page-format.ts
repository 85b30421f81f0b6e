/**
 * How the hardware reads one 64-bit paging-structure entry. Entries arrive as two halves, `low` bits 31:0 and `high` bits
 * 63:32, because a walk is several times faster on numbers than on `bigint`. Nothing here knows what software keeps in
 * the bits that hardware ignores.
 */
export interface PageFormat {
  /** Levels of a walk; the root table has this one. */
  readonly rootLevel: 3 | 4 | 5;
  /** An entry is present if any of these low bits is set. */
  readonly presentMask: number;
  /** The Accessed flag of every entry but those of `pdpteLevel`; 0 if the hardware does not maintain it. */
  readonly accessedMask: number;
  /** The Dirty flag of a leaf; 0 if the hardware does not maintain it. */
  readonly dirtyMask: number;
  /** The level whose entries are PDPTEs of PAE paging, which have no flags; 0 if there is none. */
  readonly pdpteLevel: 0 | 3;
  /** High bits that belong to the address (with low bits 31:12). */
  readonly addressHighMask: number;
  /** Every right, where the AND over the levels begins. */
  readonly allRights: number;
  /** The rights that a present entry gives: see `access/rights.ts`. */
  rights(low: number, high: number, level: number): number;
  /**
   * Whether a present entry at a level is one that hardware refuses: a reserved bit, or a combination that is not
   * defined. `leaf`: it maps a page.
   */
  isReserved(low: number, high: number, level: number, leaf: boolean): boolean;
}

/** Bit 7: at levels 2 and 3 the entry maps a page. The same in all formats. */
export const PAGE_SIZE_BIT: number = 1 << 7;

/** High-half mask of address bits from `maxPhyAddr` to 51, which must be 0. `maxPhyAddr` in [32, 52]. */
export function highReservedMask(maxPhyAddr: number): number {
  return 2 ** 20 - 2 ** (maxPhyAddr - 32);
}

/** Low-half address bits that must be 0 in a leaf, from bit `lowest` up: below the page's alignment. */
function misalignedMask(level: number, lowest: number): number {
  return level === 1 ? 0 : 2 ** (12 + 9 * (level - 1)) - 2 ** lowest;
}

/** `misalignedMask` of levels 1 to 3, at their own index. Level 4 and 5 have no leaves. */
export function misalignedMasks(lowest: number): readonly number[] {
  return [0, misalignedMask(1, lowest), misalignedMask(2, lowest), misalignedMask(3, lowest)];
}

/** Bit 12 of a large x86 page is its PAT bit, so its reserved address bits begin above. */
export const LARGE_PAGE_ADDRESS_LOWEST = 13;
