import type { Spte } from "../address/spte.js";
import { VMX_EPT_SUPPRESS_VE_BIT } from "../format/hardware-bits.js";
import type { SpteFormat } from "../format/spte-format.js";

/**
 * Whether an access through this value could raise a virtualization exception (#VE) in the guest; such a
 * value must never be stored. Always false outside EPT (`is_ept_ve_possible`).
 */
export function isEptVePossible(format: SpteFormat, spte: Spte): boolean {
  return (
    BigInt.asUintN(64, format.shadowPresentMask & VMX_EPT_SUPPRESS_VE_BIT) !== 0n &&
    BigInt.asUintN(64, spte & VMX_EPT_SUPPRESS_VE_BIT) === 0n &&
    BigInt.asUintN(64, spte & 0x7n) !== 0x6n
  );
}
