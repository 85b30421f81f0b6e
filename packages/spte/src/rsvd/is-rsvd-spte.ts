import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import type { PgLevel } from "../level/pg-level.js";
import type { RsvdBits } from "./rsvd-bits.js";

/** EPT execute permission among bits 5:0. */
const EXECUTE = 0x4n;

/** Bits 5:0 of the entry, where user-execute counts as execute. */
function memoryTypeAndXwr(format: SpteFormat, spte: Spte): bigint {
  const userExecutable = BigInt.asUintN(64, spte & format.shadowXuMask) !== 0n;
  return BigInt.asUintN(6, userExecutable ? spte | EXECUTE : spte);
}

/**
 * Whether a shadow-present entry in a table of the given level has a reserved bit or a misconfigured
 * combination of memory type and permissions (`is_rsvd_spte`). A warning when an entry is made; MMIO entries
 * fail it by design.
 */
export function isRsvdSpte(format: SpteFormat, bits: RsvdBits, spte: Spte, level: PgLevel): boolean {
  const bit7 = Number(BigInt.asUintN(1, BigInt.asUintN(64, spte) >> 7n)) as 0 | 1;
  const reserved = bits.rsvdBitsMask[bit7][level - 1]!;
  if (BigInt.asUintN(64, spte & reserved) !== 0n) return true;
  return ((bits.badMtXwr >> memoryTypeAndXwr(format, spte)) & 1n) !== 0n;
}
