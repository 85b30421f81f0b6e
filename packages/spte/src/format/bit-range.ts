/** Mask of bits `low` to `high` inclusive, 0 when `high < low`; both in [0, 63] (kernel `rsvd_bits`). */
export function bitRange(low: number, high: number): bigint {
  if (high < low) return 0n;
  return (1n << BigInt(high + 1)) - (1n << BigInt(low));
}
