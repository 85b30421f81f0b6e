import type { Spte } from "../address/spte.js";
import {
  PT_ACCESSED_MASK,
  PT_PRESENT_MASK,
  PT_USER_MASK,
  PT_WRITABLE_MASK,
} from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Entry of a PAE root array (`mmu->pae_root`). It has no MMU-present bit: an entry is present when it is not
 * 0. Hardware PDPTEs carry the address and P only; when the array hangs below a four- or five-level root,
 * which happens when a 32-bit or PAE nested table is shadowed, A, W and U are needed as well.
 * @param childPa physical address of the page directory, 4 KiB aligned, in [0, 2^52)
 * @param belowLongModeRoot whether the array hangs below a four- or five-level root
 */
export function makePaePdpte(format: SpteFormat, childPa: bigint, belowLongModeRoot: boolean): Spte {
  const longModeBits = belowLongModeRoot ? PT_ACCESSED_MASK | PT_WRITABLE_MASK | PT_USER_MASK : 0n;
  return BigInt.asUintN(64, childPa | PT_PRESENT_MASK | format.shadowMeValue | longModeBits) as Spte;
}
