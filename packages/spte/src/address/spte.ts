import { InvalidSpteError } from "../errors.js";

declare const spteBrand: unique symbol;

/** One 64-bit page-table entry (kernel `u64 spte`), in [0, 2^64). */
export type Spte = bigint & { readonly [spteBrand]: "Spte" };

/**
 * Checks and brands a 64-bit entry.
 * @param value in [0, 2^64)
 * @throws InvalidSpteError for anything else
 */
export function toSpte(value: bigint): Spte {
  if (BigInt.asUintN(64, value) !== value) throw new InvalidSpteError(value);
  return value as Spte;
}
