import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** Whether the entry is a cached "no memslot here" (`is_mmio_spte`). Always false without MMIO caching. */
export function isMmioSpte(format: SpteFormat, spte: Spte): boolean {
  return (
    format.enableMmioCaching &&
    BigInt.asUintN(64, BigInt.asUintN(64, spte & format.shadowMmioMask) ^ format.shadowMmioValue) === 0n
  );
}
