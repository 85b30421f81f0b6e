/** One named run of bits and how to read it. */
export interface SpteField {
  readonly name: string;
  /** The bits in place. */
  readonly mask: bigint;
  /** Says in words what a value means; the value is the field shifted down to bit 0. */
  readonly meaning: (value: bigint) => string;
}

/** A field of one bit, with the words for set and clear. */
export function flagField(name: string, mask: bigint, set: string, clear: string): SpteField {
  return { name, mask, meaning: (value) => (value === 0n ? clear : set) };
}

/** Value of the field in an entry, shifted down to bit 0. */
export function fieldValue(field: SpteField, spte: bigint): bigint {
  const lowestBit = field.mask & -field.mask;
  return lowestBit === 0n ? 0n : (spte & field.mask) / lowestBit;
}

/** Bits that none of the fields covers. */
export function uncoveredBits(fields: readonly SpteField[]): bigint {
  return BigInt.asUintN(64, ~fields.reduce((covered, field) => covered | field.mask, 0n));
}
