import { InvalidPgLevelError } from "../errors.js";
import { bitRange } from "../format/bit-range.js";
import { type PgLevel, PT32E_ROOT_LEVEL, PT64_ROOT_5LEVEL } from "../level/pg-level.js";
import type { RsvdBits } from "./rsvd-bits.js";

/** What decides which bits are reserved in normal (non-EPT) page tables. */
export interface ResetRsvdsBitsMaskInput {
  /** 3 for PAE, 4 or 5. */
  readonly rootLevel: PgLevel;
  /** Physical address bits that are reserved, bits 63 down to MAXPHYADDR. */
  readonly paBitsRsvd: bigint;
  /** EFER.NX: without it bit 63 is reserved. */
  readonly nx: boolean;
  /** 1 GiB pages exist: without them bit 7 is reserved at level 3. */
  readonly gbpages: boolean;
  /** AMD reserves bit 8 in the entries of levels 4 and 5. */
  readonly amd: boolean;
}

const LARGE_2M_OFFSET = bitRange(13, 20);
const LARGE_1G_OFFSET = bitRange(13, 29);
const PAE_PDPTE_RSVD = bitRange(63, 63) | bitRange(5, 8) | bitRange(1, 2);
const PAGE_SIZE = bitRange(7, 7);

function paeRsvdBits(input: ResetRsvdsBitsMaskInput): RsvdBits {
  const high = (input.paBitsRsvd & bitRange(0, 62)) | (input.nx ? 0n : bitRange(63, 63));
  const pdpte = high | PAE_PDPTE_RSVD;
  return {
    rsvdBitsMask: [
      [high, high, pdpte, 0n, 0n],
      [high, high | LARGE_2M_OFFSET, pdpte, 0n, 0n],
    ],
    badMtXwr: 0n,
  };
}

function longModeRsvdBits(input: ResetRsvdsBitsMaskInput): RsvdBits {
  const high = (input.paBitsRsvd & bitRange(0, 51)) | (input.nx ? 0n : bitRange(63, 63));
  const pud = high | (input.gbpages ? 0n : PAGE_SIZE);
  const top = high | PAGE_SIZE | (input.amd ? bitRange(8, 8) : 0n);
  const level5 = input.rootLevel === PT64_ROOT_5LEVEL ? top : 0n;
  return {
    rsvdBitsMask: [
      [high, high, pud, top, level5],
      [high, high | LARGE_2M_OFFSET, pud | LARGE_1G_OFFSET, top, level5],
    ],
    badMtXwr: 0n,
  };
}

/**
 * Reserved bits of normal page tables (`__reset_rsvds_bits_mask`).
 * @throws InvalidPgLevelError when the root level is not 3, 4 or 5
 */
export function resetRsvdsBitsMask(input: ResetRsvdsBitsMaskInput): RsvdBits {
  if (input.rootLevel < PT32E_ROOT_LEVEL) {
    throw new InvalidPgLevelError(input.rootLevel, PT32E_ROOT_LEVEL, PT64_ROOT_5LEVEL);
  }
  return input.rootLevel === PT32E_ROOT_LEVEL ? paeRsvdBits(input) : longModeRsvdBits(input);
}
