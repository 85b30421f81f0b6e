import type { PageFormat } from "../format/page-format.js";
import type { CompletePagingMode } from "../format/paging-mode.js";
import { x86Format } from "../format/x86-format.js";

const ROOT_LEVELS = [3, 3, 4, 5] as const;

/**
 * The formats of x86 tables by number of the paging mode. A mode without paging has the PAE format at its place, which
 * the MMU uses for the shadow tables of such a guest.
 */
export function linearFormats(paging: CompletePagingMode, eferNx: boolean): readonly PageFormat[] {
  const { maxPhyAddr, pageFormat } = paging;
  return ROOT_LEVELS.map((rootLevel) =>
    x86Format({ rootLevel, maxPhyAddr, eferNx, amd: pageFormat === "npt" }),
  );
}

/** Linear addresses of PAE paging, and of a guest without paging over shadow tables, have 32 bits. */
const LIMIT_32 = 2 ** 32;

/**
 * Linear addresses below this exist, by number of the paging mode. Of canonical addresses it is the low half, with five levels
 * the part of it that a JavaScript number holds exactly.
 */
export const LINEAR_LIMITS: readonly number[] = [LIMIT_32, LIMIT_32, 2 ** 47, 2 ** 53];
