import { InvalidFrameNumberError } from "../errors.js";

declare const gfnBrand: unique symbol;

/**
 * Guest frame number: guest-physical address divided by 4096 (kernel `gfn_t`). An integer in [0, 2^52), so
 * that every value of a 64-bit guest-physical address has one; a JavaScript number holds it exactly.
 */
export type Gfn = number & { readonly [gfnBrand]: "Gfn" };

const GFN_LIMIT = 2 ** 52;

/**
 * Checks and brands a guest frame number.
 * @param value an integer in [0, 2^52)
 * @throws InvalidFrameNumberError for anything else
 */
export function toGfn(value: number): Gfn {
  if (!Number.isInteger(value) || value < 0 || value >= GFN_LIMIT) {
    throw new InvalidFrameNumberError("gfn", value, GFN_LIMIT);
  }
  return value as Gfn;
}
