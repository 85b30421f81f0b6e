import type { Address, FrameAllocator } from "@kvm-age/machine";
import type { Gfn } from "@kvm-age/spte";
import { RecorderRangeError } from "../errors.js";

/**
 * The frames a recorder covers; accesses outside are not recorded. Where accesses are made to guest-linear addresses, a
 * "frame" of a recorder is a guest-linear page, and its number stands in the place of the gfn.
 */
export interface RecorderInit {
  readonly startGfn: Gfn;
  /** [1, 2^30] */
  readonly pages: number;
}

/** A recorder as plain data that crosses threads. */
export interface RecorderHandle extends RecorderInit {
  /** Its words in the arena. */
  readonly address: Address;
}

/** What a recorder needs of a machine. */
export interface RecorderMachine {
  readonly frames: FrameAllocator;
}

const GFN_LIMIT = 2 ** 40;
const MAX_PAGES = 2 ** 30;

/** @throws RecorderRangeError unless `pages` is in [1, 2^30] and the range lies in [0, 2^40). */
export function checkRecorderRange({ startGfn, pages }: RecorderInit): void {
  const counted = Number.isInteger(pages) && pages >= 1 && pages <= MAX_PAGES;
  const placed = Number.isInteger(startGfn) && startGfn >= 0 && startGfn + pages <= GFN_LIMIT;
  if (!counted || !placed) throw new RecorderRangeError(startGfn, pages);
}
