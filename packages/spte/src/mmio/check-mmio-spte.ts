import type { Spte } from "../address/spte.js";
import type { SpteFormat } from "../format/spte-format.js";
import { getMmioSpteGeneration } from "./get-mmio-spte-generation.js";
import { KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS } from "./memslot-generation.js";

/**
 * Whether an MMIO entry may still be believed (`check_mmio_spte`): its stored generation is the current one,
 * modulo the stored width, and no memslot update is in progress.
 * @param generation the current 64-bit memslot generation
 */
export function checkMmioSpte(format: SpteFormat, spte: Spte, generation: bigint): boolean {
  if ((generation & KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS) !== 0n) return false;
  return getMmioSpteGeneration(format, spte) === (generation & format.rules.mmioGeneration.mask);
}
