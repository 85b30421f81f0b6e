import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";

/** The stored low bits of the memslot generation (`get_mmio_spte_generation`): 19 bits in 6.15, 18 in 7.3. */
export function getMmioSpteGeneration(format: SpteFormat, spte: Spte): bigint {
  const layout = format.rules.mmioGeneration;
  return ((spte & layout.lowMask) >> layout.lowShift) | ((spte & layout.highMask) >> layout.highShift);
}
