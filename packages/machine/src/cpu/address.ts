declare const addressBrand: unique symbol;

/**
 * A byte offset into the arena: an integer in [0, 2^32). 0 is the null address; no object lives there.
 * 64-bit words lie at multiples of 8, 32-bit words at multiples of 4.
 */
export type Address = number & { readonly [addressBrand]: never };

/** The address that points at nothing. */
export const NULL_ADDRESS: Address = 0 as Address;

/** `base` plus `bytes`; the caller keeps the result inside the arena. */
export function offset(base: Address, bytes: number): Address {
  return (base + bytes) as Address;
}
