import { InvalidFrameNumberError } from "../errors.js";

declare const pfnBrand: unique symbol;

/**
 * Host frame number: host-physical address divided by 4096 (kernel `kvm_pfn_t`). An integer in [0, 2^40),
 * because an entry stores physical address bits 51:12.
 */
export type Pfn = number & { readonly [pfnBrand]: "Pfn" };

const PFN_LIMIT = 2 ** 40;

/**
 * Checks and brands a host frame number.
 * @param value an integer in [0, 2^40)
 * @throws InvalidFrameNumberError for anything else
 */
export function toPfn(value: number): Pfn {
  if (!Number.isInteger(value) || value < 0 || value >= PFN_LIMIT) {
    throw new InvalidFrameNumberError("pfn", value, PFN_LIMIT);
  }
  return value as Pfn;
}
