import { bitRange } from "../format/bit-range.js";
import { PG_LEVEL_1G, PG_LEVEL_2M, type PgLevel } from "../level/pg-level.js";
import type { RsvdBits } from "./rsvd-bits.js";

/** What decides which bits are reserved in EPT tables. */
export interface ResetRsvdsBitsMaskEptInput {
  /** Physical address bits that are reserved, bits 63 down to MAXPHYADDR. */
  readonly paBitsRsvd: bigint;
  /** Execute-only entries are legal. */
  readonly execOnly: boolean;
  /** Highest level that may hold a leaf, 1 to 3. */
  readonly hugePageLevel: PgLevel;
}

const PAGE_SIZE = bitRange(7, 7);
/** Memory type and IPAT, reserved in entries that point to a table. */
const TABLE_RSVD = bitRange(3, 6);

/** Repeats an eight-bit pattern over the eight memory types. */
function forEveryMemoryType(xwrPattern: bigint): bigint {
  return xwrPattern * 0x0101010101010101n;
}

/**
 * Misconfigured combinations: memory types 2, 3 and 7 do not exist; write without read (010, 110) never is
 * legal; execute without read (100) only with execute-only support.
 */
function badMtXwr(execOnly: boolean): bigint {
  const unknownTypes = (0xffn << 16n) | (0xffn << 24n) | (0xffn << 56n);
  const writeWithoutRead = forEveryMemoryType((1n << 2n) | (1n << 6n));
  const executeWithoutRead = execOnly ? 0n : forEveryMemoryType(1n << 4n);
  return unknownTypes | writeWithoutRead | executeWithoutRead;
}

/** Reserved bits of EPT tables (`__reset_rsvds_bits_mask_ept`). */
export function resetRsvdsBitsMaskEpt(input: ResetRsvdsBitsMaskEptInput): RsvdBits {
  const high = input.paBitsRsvd & bitRange(0, 51);
  const no2M = input.hugePageLevel < PG_LEVEL_2M ? PAGE_SIZE : 0n;
  const no1G = input.hugePageLevel < PG_LEVEL_1G ? PAGE_SIZE : 0n;
  const top = high | TABLE_RSVD | PAGE_SIZE;
  return {
    rsvdBitsMask: [
      [high, high | TABLE_RSVD | no2M, high | TABLE_RSVD | no1G, top, top],
      [high, high | bitRange(12, 20) | no2M, high | bitRange(12, 29) | no1G, top, top],
    ],
    badMtXwr: badMtXwr(input.execOnly),
  };
}
